"""What a release leaves uncovered: concepts it does not hold, models and tasks without anchors.

A bundle that lacks a concept lets it through without a word, so whoever releases must be told. So
must be that a newer version waits, since a release takes only what was asked for, and for which
tasks of a model no member has anchors: engines refuse the whole bundle there.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.words import TASKS
from registry.answers import Coverage, Gap
from registry.releases.assemble import released_members
from registry.releases.lineup import Chosen, releasable_drafts
from registry.releases.thresholds import places_of
from registry.store.models import Concept, ConceptVersion, Release

Known = tuple[int, str]
"""Number and state of a version."""


def gaps(session: Session, release: Release, members: Sequence[Chosen] | None = None) -> list[Gap]:
    """Return the gaps of a release, by slug; ``members`` are its own where they were read."""
    if members is None:
        members = released_members(session, release)
    states = ("approved", *releasable_drafts(session))
    numbers = {item.concept.id: item.version.number for item in members}
    versions: dict[int, list[Known]] = {}
    query = select(ConceptVersion.concept_id, ConceptVersion.number, ConceptVersion.state)
    for concept_id, number, state in session.execute(query.order_by(ConceptVersion.number)):
        versions.setdefault(concept_id, []).append((number, state))
    found = _uncovered(session, members)
    for concept_id, slug in session.execute(select(Concept.id, Concept.slug)):
        known, held = versions.get(concept_id, []), numbers.get(concept_id)
        ready = [item for item in known if item[0] > (held or 0) and item[1] in states]
        waits = [item for item in known if item[0] > (held or 0) and item[1] == "in_review"]
        if held is None or ready or waits:
            why = _why(ready[-1:] or (known if held is None else waits))
            takes = f"{slug}@{ready[-1][0]}" if ready else ""
            found.append(Gap(slug, why, nowhere=held is None, takes=takes, older=held is not None))
    return sorted(found, key=lambda gap: gap.slug)


def coverage(session: Session, members: Sequence[Chosen]) -> tuple[Coverage, ...]:
    """Return what members have anchors for, and what none of them has, by model."""
    places = set().union(*places_of(session, [item.version.id for item in members]).values())
    return tuple(
        Coverage(
            model,
            tasks=tuple(task for task in TASKS if f"{model} {task}" in places),
            lacks=tuple(task for task in TASKS if f"{model} {task}" not in places),
        )
        for model in sorted({place.rpartition(" ")[0] for place in places})
    )


def _uncovered(session: Session, members: Sequence[Chosen]) -> list[Gap]:
    """Return the members without anchors for a model and task that another one has them for."""
    places = places_of(session, [item.version.id for item in members])
    covered = {item.concept.slug: places[item.version.id] for item in members}
    everywhere = set().union(*covered.values())
    return [
        Gap(slug, f"no anchors for {', '.join(missing)}", nowhere=False, takes="")
        for slug, places in covered.items()
        if (missing := sorted(everywhere - places))
    ]


def _why(versions: Sequence[Known]) -> str:
    if not versions:
        return "no anchors yet"
    number, state = versions[-1]
    return f"version {number} is {state.replace('_', ' ')}"
