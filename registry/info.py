"""What the registry answers with: plain frozen dataclasses, so that rows stay inside."""

from __future__ import annotations

from dataclasses import dataclass

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition


@dataclass(frozen=True)
class ConceptInfo:
    """A concept in a list; ``latest_version`` is None before anchors were collected."""

    slug: str
    name: str
    category: str
    latest_version: int | None
    versions: int
    created_at: str


@dataclass(frozen=True)
class VersionSpace:
    """The anchors of a version in one space, and how a patch is scored there.

    Attributes:
        space: Model, task, taps and noise level.
        digest: The space's digest.
        anchor_set: Digest of the anchors.
        anchors: Number of anchors.
        counter_anchors: Number of counter-anchors.
        rule: Scoring rule.
        seed_threshold: A patch with score >= this starts a region.
        grow_threshold: A patch with score >= this joins a region next to it.
    """

    space: AnchorSpace
    digest: str
    anchor_set: str
    anchors: int
    counter_anchors: int
    rule: str
    seed_threshold: float
    grow_threshold: float


@dataclass(frozen=True)
class VersionInfo:
    """One version of a concept; ``created_at`` is UTC in ISO 8601."""

    slug: str
    number: int
    state: str
    content_digest: str
    created_at: str
    created_by: str
    spaces: tuple[VersionSpace, ...]

    @property
    def anchors(self) -> int:
        """Number of anchors over all spaces."""
        return sum(space.anchors for space in self.spaces)

    @property
    def counter_anchors(self) -> int:
        """Number of counter-anchors over all spaces."""
        return sum(space.counter_anchors for space in self.spaces)


@dataclass(frozen=True)
class ConceptDetail:
    """A concept, the definition that its next version takes, and its versions, oldest first."""

    slug: str
    name: str
    category: str
    created_at: str
    created_by: str
    definition: ConceptDefinition
    versions: tuple[VersionInfo, ...]


@dataclass(frozen=True)
class SpaceInfo:
    """An anchor space, and what the latest versions hold in it."""

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
class ReleasedMember:
    """A version that a release locks."""

    slug: str
    version: int
    content_digest: str
    mode: str


@dataclass(frozen=True)
class ReleaseInfo:
    """A release of a bundle; members are sorted by slug."""

    bundle: str
    sequence: int
    lock_digest: str
    bundle_digest: str
    created_at: str
    created_by: str
    members: tuple[ReleasedMember, ...]
