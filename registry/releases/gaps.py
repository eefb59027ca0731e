"""What a release leaves uncovered: concepts it does not hold, models and tasks without anchors.

A bundle that lacks a concept lets it through without a word, so whoever releases must be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.releases.assemble import released_members
from registry.store.models import Concept, ConceptVersion, Release
from registry.versions.reading import stored_anchors_of


@dataclass(frozen=True)
class Gap:
    """A concept that a release does not enforce, or not everywhere.

    Attributes:
        slug: The concept.
        why: The reason, such as "no anchors yet" or "no anchors for flux.1-dev edit".
    """

    slug: str
    why: str


def gaps(session: Session, release: Release) -> list[Gap]:
    """Return the gaps of a release, by slug."""
    members = released_members(session, release)
    member_ids = {item.concept.id for item in members}
    versions: dict[int, list[ConceptVersion]] = {}
    for version in session.scalars(select(ConceptVersion).order_by(ConceptVersion.number)):
        versions.setdefault(version.concept_id, []).append(version)
    others = [row for row in session.scalars(select(Concept)) if row.id not in member_ids]
    uncovered = [Gap(row.slug, _why(versions.get(row.id, []))) for row in others]
    anchors = stored_anchors_of(session, [item.version for item in members])
    covered = {
        item.concept.slug: {
            f"{entry.space.model} {entry.space.task}" for entry in anchors[item.version.id]
        }
        for item in members
    }
    everywhere = set().union(*covered.values())
    for slug, places in covered.items():
        if missing := sorted(everywhere - places):
            uncovered.append(Gap(slug, f"no anchors for {', '.join(missing)}"))
    return sorted(uncovered, key=lambda gap: gap.slug)


def _why(versions: Sequence[ConceptVersion]) -> str:
    if not versions:
        return "no anchors yet"
    if any(version.state == "approved" for version in versions):
        return "not asked for"
    newest = versions[-1]
    return f"version {newest.number} is {newest.state.replace('_', ' ')}"
