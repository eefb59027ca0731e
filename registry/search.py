"""Search: the anchors nearest to a feature, found by FAISS and scored again exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.errors import MismatchError, NotFoundError, VerificationError
from registry.index import IndexInput, open_index, unit_vectors
from registry.info import SearchHit, SpaceInfo
from registry.models import AnchorSetRow, AnchorSpaceRow, Concept, ConceptVersion, VersionAnchors
from registry.reading import read_anchor_set, read_space
from registry.store import BlobStore

# FAISS ranks in float32, and its sums depend on the batch size: some more than asked for are
# taken, scored again in float64 in a fixed order, and cut to k.
SPARE = 32


def list_spaces(opened: Session) -> list[SpaceInfo]:
    """Return the anchor spaces, with what the latest versions hold in each."""
    found = []
    for row in opened.scalars(select(AnchorSpaceRow).order_by(AnchorSpaceRow.digest)).all():
        sets = _latest_sets(opened, row)
        anchors = sum(anchor_set.anchors for _, _, anchor_set in sets)
        found.append(SpaceInfo(row.digest, read_space(row), len(sets), anchors))
    return found


def search(
    opened: Session,
    store: BlobStore,
    folder: Path,
    space_digest: str,
    vectors: NDArray[Any],
    k: int,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of the latest versions for each vector, best first."""
    row = opened.scalars(select(AnchorSpaceRow).filter_by(digest=space_digest)).first()
    if row is None:
        raise NotFoundError(f"No anchors in the anchor space {space_digest[:12]}.")
    queries = _checked(vectors, row.dim, k)
    sets = _latest_sets(opened, row)
    if not sets:
        return [[] for _ in queries]
    inputs = [
        IndexInput(concept.slug, version.number, anchor_set.digest, anchor_set.anchors)
        for concept, version, anchor_set in sets
    ]
    rows = {anchor_set.digest: anchor_set for _, _, anchor_set in sets}
    try:
        index = open_index(
            folder,
            space_digest,
            inputs,
            lambda item: read_anchor_set(store, rows[item.anchor_set]).anchors,
        )
    except ValueError as error:
        raise VerificationError(f"The index cannot be built: {error}.") from error
    return search_index(index, inputs, queries, k)


def _checked(vectors: NDArray[Any], dim: int, k: int) -> NDArray[np.float32]:
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim:
        raise MismatchError(f"Queries have shape {array.shape}, the space needs (n, {dim}).")
    if not np.isfinite(array).all():
        raise ValueError("queries hold NaN or infinity")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return unit_vectors(array)


def search_index(
    index: Any, inputs: Sequence[IndexInput], queries: NDArray[np.float32], k: int
) -> list[list[SearchHit]]:
    """Return the k best rows of an index for each unit query, scored again in float64."""
    starts = np.cumsum([0, *(item.anchors for item in inputs)])
    _, candidates = index.search(queries, min(k + SPARE, int(index.ntotal)))
    found = []
    for query, rows in zip(queries.astype(np.float64), candidates, strict=True):
        rows = np.sort(rows[rows >= 0])
        vectors = index.reconstruct_batch(rows).astype(np.float64)
        scores = (vectors * query).sum(axis=1)
        # Rows are in the order of slug and anchor, so that equal scores rank by them.
        best = np.argsort(-scores, kind="stable")[:k]
        places = np.searchsorted(starts, rows[best], side="right") - 1
        found.append(
            [
                SearchHit(
                    slug=inputs[place].slug,
                    version=inputs[place].version,
                    anchor=int(row - starts[place]),
                    score=float(np.clip(score, -1.0, 1.0)),
                )
                for place, row, score in zip(places, rows[best], scores[best], strict=True)
            ]
        )
    return found


def _latest_sets(
    opened: Session, space: AnchorSpaceRow
) -> list[tuple[Concept, ConceptVersion, AnchorSetRow]]:
    latest = (
        select(ConceptVersion.concept_id, func.max(ConceptVersion.number).label("number"))
        .group_by(ConceptVersion.concept_id)
        .subquery()
    )
    query = (
        select(Concept, ConceptVersion, AnchorSetRow)
        .join(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .join(
            latest,
            (latest.c.concept_id == ConceptVersion.concept_id)
            & (latest.c.number == ConceptVersion.number),
        )
        .join(VersionAnchors, VersionAnchors.version_id == ConceptVersion.id)
        .join(AnchorSetRow, AnchorSetRow.id == VersionAnchors.anchor_set_id)
        .where(VersionAnchors.space_id == space.id)
    )
    found = [(concept, version, anchors) for concept, version, anchors in opened.execute(query)]
    return sorted(found, key=lambda item: item[0].slug)
