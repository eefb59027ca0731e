"""What a release leaves uncovered: concepts it does not hold, models and tasks without anchors.

A bundle that lacks a concept lets it through without a word, so whoever releases must be told.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from registry.assemble import released_members
from registry.models import Concept, ConceptVersion, Release
from registry.reading import stored_anchors_of


@dataclass(frozen=True)
class Gap:
    """A concept that a release does not enforce, or not everywhere.

    Attributes:
        slug: The concept.
        why: The reason, such as "no anchors yet" or "no anchors for flux.1-dev edit".
    """

    slug: str
    why: str


def gaps(opened: Session, release: Release) -> list[Gap]:
    """Return the gaps of a release, by slug."""
    members = released_members(opened, release)
    held = {item.concept.id for item in members}
    newest: dict[int, ConceptVersion] = {}
    for version in opened.scalars(select(ConceptVersion).order_by(ConceptVersion.number)):
        newest[version.concept_id] = version
    concepts = opened.scalars(select(Concept)).all()
    found = [Gap(row.slug, _why(newest.get(row.id))) for row in concepts if row.id not in held]
    anchors = stored_anchors_of(opened, [item.version for item in members])
    covered = {
        item.concept.slug: {
            f"{entry.space.model} {entry.space.task}" for entry in anchors[item.version.id]
        }
        for item in members
    }
    everywhere = set().union(*covered.values())
    for slug, places in covered.items():
        if missing := sorted(everywhere - places):
            found.append(Gap(slug, f"no anchors for {', '.join(missing)}"))
    return sorted(found, key=lambda gap: gap.slug)


def _why(newest: ConceptVersion | None) -> str:
    if newest is None:
        return "no anchors yet"
    if newest.state == "approved":
        return "not asked for"
    return f"version {newest.number} is {newest.state.replace('_', ' ')}"
