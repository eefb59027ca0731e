"""What search finds, put in order: for a picture by its patches, for a report by what fired."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

from numpy.typing import NDArray
from sqlalchemy.orm import Session

from registry.answers import SearchHit
from registry.index.search import search_concept
from registry.store.blobs import BlobStore


@dataclass(frozen=True)
class PatchHit:
    """An anchor near a patch of a picture.

    Attributes:
        patch: Position of the patch in the picture.
        slug: The concept.
        version: Its version.
        anchor: Position in the version's anchor set.
        score: Cosine similarity, -1 to 1.
    """

    patch: int
    slug: str
    version: int
    anchor: int
    score: float


@dataclass(frozen=True)
class FiredFeature:
    """A concept that fired in a picture, and the feature that it fired on.

    Attributes:
        picture: Number of the picture.
        mode: "enforce", "log" or "shadow".
        slug: The concept.
        version: Its version.
        feature: Feature of the patch that scored highest, (dim,).
    """

    picture: int
    mode: str
    slug: str
    version: int
    feature: NDArray[Any] = field(repr=False)


@dataclass(frozen=True)
class Attribution:
    """An anchor that is near what fired.

    Attributes:
        picture: Number of the picture.
        mode: "enforce", "log" or "shadow".
        slug: The concept.
        version: Its version.
        anchor: Position in the version's anchor set.
        score: Cosine similarity, -1 to 1.
    """

    picture: int
    mode: str
    slug: str
    version: int
    anchor: int
    score: float


def rank_hits(
    hits: Sequence[Sequence[SearchHit]], count: int
) -> tuple[list[PatchHit], list[PatchHit]]:
    """Return the concepts nearest to a picture, by version, and its nearest anchors, best first.

    Args:
        hits: For each patch of the picture, what ``search`` gave.
        count: How many anchors at most; each counts once, by its best patch.
    """
    ranked = sorted(
        (PatchHit(patch, *astuple(hit)) for patch, near in enumerate(hits) for hit in near),
        key=lambda hit: (-hit.score, hit.slug, hit.version, hit.anchor, hit.patch),
    )
    concepts: dict[tuple[str, int], PatchHit] = {}
    anchors: dict[tuple[str, int, int], PatchHit] = {}
    for hit in ranked:
        concepts.setdefault((hit.slug, hit.version), hit)
        anchors.setdefault((hit.slug, hit.version, hit.anchor), hit)
    return list(concepts.values()), list(anchors.values())[:count]


def attribute(
    session: Session,
    store: BlobStore,
    space_digest: str,
    fired: Iterable[FiredFeature],
    k: int,
) -> list[Attribution]:
    """Return the k anchors, of the version that fired, nearest to each feature."""
    rows = []
    for item in fired:
        queries = item.feature[None]
        (hits,) = search_concept(session, store, item.slug, item.version, space_digest, queries, k)
        rows += [Attribution(item.picture, item.mode, *astuple(hit)) for hit in hits]
    return rows
