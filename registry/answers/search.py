"""What a search of the anchors looks at and finds."""

from __future__ import annotations

from dataclasses import dataclass

from concepts.anchors import AnchorSpace

NEAR_DISTANCE = 0.05
"""Anchors are near each other when 1 - cosine <= this."""


@dataclass(frozen=True)
class SpaceInfo:
    """An anchor space, and what a search looks at in it."""

    digest: str
    space: AnchorSpace
    concepts: int
    anchors: int


@dataclass(frozen=True)
class SearchHit:
    """An anchor near a query.

    Attributes:
        slug: The concept.
        version: Its version.
        anchor: Position in the version's anchor set.
        score: Cosine similarity, -1 to 1.
    """

    slug: str
    version: int
    anchor: int
    score: float


@dataclass(frozen=True)
class LookedAt:
    """A version that a search looks at.

    Attributes:
        slug: The concept.
        version: The version's number.
        state: "live", or where it is not "approved", "draft" or "in_review".
    """

    slug: str
    version: int
    state: str


@dataclass(frozen=True)
class Overlap:
    """A concept whose anchors lie near new ones.

    Attributes:
        slug: The concept.
        version: The version that was looked at.
        state: "live", or where it is not "approved", "draft" or "in_review".
        space: Digest of the anchor space.
        share: Share of the new anchors that have one of its anchors within the distance.
        nearest: Highest cosine of any two of them.
        checked: How many of the new anchors were compared.
    """

    slug: str
    version: int
    state: str
    space: str
    share: float
    nearest: float
    checked: int
