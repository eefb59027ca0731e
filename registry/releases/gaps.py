"""What a release leaves uncovered: concepts it does not hold, models and tasks without anchors.

A bundle that lacks a concept lets it through without a word, so whoever releases must be told. So
must be that a newer version waits, since a release takes only what was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.answers import Gap
from registry.releases.assemble import released_members
from registry.releases.lineup import Chosen, releasable_drafts
from registry.releases.thresholds import place
from registry.store.models import Concept, ConceptVersion, Release
from registry.versions.reading import stored_anchors_of


def gaps(session: Session, release: Release) -> list[Gap]:
    """Return the gaps of a release, by slug."""
    members = released_members(session, release)
    states = ("approved", *releasable_drafts(session))
    numbers = {item.concept.id: item.version.number for item in members}
    versions: dict[int, list[ConceptVersion]] = {}
    for version in session.scalars(select(ConceptVersion).order_by(ConceptVersion.number)):
        versions.setdefault(version.concept_id, []).append(version)
    found = _uncovered(session, members)
    for concept in session.scalars(select(Concept)):
        known, number = versions.get(concept.id, []), numbers.get(concept.id)
        ready = [item for item in known if item.number > (number or 0) and item.state in states]
        if number is None or ready:
            why = _why(ready[-1:] or known)
            takes = f"{concept.slug}@{ready[-1].number}" if ready else ""
            found.append(Gap(concept.slug, why, nowhere=number is None, takes=takes))
    return sorted(found, key=lambda gap: gap.slug)


def _uncovered(session: Session, members: Sequence[Chosen]) -> list[Gap]:
    """Return the members without anchors for a model and task that another one has them for."""
    anchors = stored_anchors_of(session, [item.version for item in members])
    covered = {
        item.concept.slug: {place(entry) for entry in anchors[item.version.id]} for item in members
    }
    everywhere = set().union(*covered.values())
    return [
        Gap(slug, f"no anchors for {', '.join(missing)}", nowhere=False, takes="")
        for slug, places in covered.items()
        if (missing := sorted(everywhere - places))
    ]


def _why(versions: Sequence[ConceptVersion]) -> str:
    if not versions:
        return "no anchors yet"
    newest = versions[-1]
    return f"version {newest.number} is {newest.state.replace('_', ' ')}"
