"""Search: the anchors nearest to a feature, found by FAISS and scored again exactly."""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.orm import Session

from concepts.errors import MismatchError, NotFoundError, VerificationError
from registry.answers import SearchHit, SpaceInfo
from registry.index.cache import IndexCache, IndexInput, OpenIndex
from registry.store.blobs import BlobStore
from registry.store.db import named_errors, open_session
from registry.store.models import (
    AnchorSetRow,
    AnchorSpaceRow,
    Concept,
    ConceptVersion,
    VersionAnchors,
)
from registry.vectors.exact import Stack, nearest, unit_vectors
from registry.vectors.rows import StoredRows
from registry.versions.reading import find_concept, read_space


@dataclass(frozen=True)
class StoredSet:
    """The anchors of one version in one space, and the blob that holds them."""

    input: IndexInput
    blob: str

    def rows(self, store: BlobStore, dim: int) -> StoredRows:
        """Return the anchors, read when they are needed."""
        return StoredRows(store.path(self.blob), self.blob, self.input.anchors, dim)


def list_spaces(session: Session) -> list[SpaceInfo]:
    """Return the anchor spaces, with what the latest versions hold in each."""
    spaces = []
    for row in session.scalars(select(AnchorSpaceRow).order_by(AnchorSpaceRow.digest)).all():
        sets = latest_sets(session, row)
        anchors = sum(item.input.anchors for item in sets)
        spaces.append(SpaceInfo(row.digest, read_space(row), len(sets), anchors))
    return spaces


class States:
    """Tells the registry's states apart, over a connection that is kept.

    Opening one for each search would take longer than all else but FAISS. It is kept for a minute
    at most, so that a database that was put in the place of another is seen.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = create_engine(
            engine.url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=-1,
            pool_recycle=60, pool_pre_ping=True, pool_reset_on_return=None,
        )  # fmt: skip
        self._process = os.getpid()
        weakref.finalize(self, _dispose, self._engine, self._process)

    def newest(self) -> str:
        """Return the state that was committed last."""
        if os.getpid() != self._process:  # Forked: the connection is still the parent's.
            self._engine.dispose(close=False)
            self._process = os.getpid()
        with named_errors(self._engine), self._engine.connect() as connection:
            return _state(connection)


def _dispose(engine: Engine, process: int) -> None:
    if os.getpid() == process:
        engine.dispose()


def search_current(
    engine: Engine,
    states: States,
    store: BlobStore,
    cache: IndexCache,
    space_digest: str,
    vectors: NDArray[Any],
    k: int,
) -> list[list[SearchHit]]:
    """Return what ``search`` does; where the index is open and current, by one small query."""
    index = cache.current(space_digest, states.newest())
    if index is None:
        with open_session(engine) as session:
            return search(session, store, cache, space_digest, vectors, k)
    _check(vectors, index.finder.stack.dim, k)
    return index.search(vectors, k)


def search(
    session: Session,
    store: BlobStore,
    cache: IndexCache,
    space_digest: str,
    vectors: NDArray[Any],
    k: int,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of the latest versions for each vector, best first."""
    row = _space(session, space_digest)
    _check(vectors, row.dim, k)
    index = space_index(session, store, cache, row)
    return [[] for _ in vectors] if index is None else index.search(vectors, k)


def space_index(
    session: Session,
    store: BlobStore,
    cache: IndexCache,
    space: AnchorSpaceRow,
    kind: str | None = None,
) -> OpenIndex | None:
    """Return the index of a space's latest versions, None where they have no anchors.

    Raises:
        GateError: If an index of the kind asked for finds too few of the nearest anchors.
        VerificationError: If stored anchors are damaged.
    """
    sets = {item.input: item for item in latest_sets(session, space)}
    if not sets:
        return None
    try:
        return cache.open(
            space.digest,
            list(sets),
            lambda item: sets[item].rows(store, space.dim),
            kind,
            _state(session.connection()),
        )
    except ValueError as error:
        raise VerificationError(f"The index cannot be built: {error}.") from error


def search_concept(
    session: Session,
    store: BlobStore,
    slug: str,
    number: int | None,
    space_digest: str,
    vectors: NDArray[Any],
    k: int,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of one version, the latest by default, for each vector.

    One concept's anchors are few: each is compared, without an index.
    """
    row = _space(session, space_digest)
    _check(vectors, row.dim, k)
    concept = find_concept(session, slug)
    sets = _sets(session, row, concept.id, number)
    if not sets:
        which = "latest version" if number is None else f"version {number}"
        raise NotFoundError(
            f"The {which} of '{slug}' has no anchors in the anchor space {space_digest[:12]}."
        )
    (stored,) = sets
    hits = nearest(Stack([stored.rows(store, row.dim)]), unit_vectors(vectors), k)
    version = stored.input.version
    return [
        [SearchHit(slug, version, int(at), float(score)) for at, score in zip(*best, strict=True)]
        for best in hits
    ]


def latest_sets(session: Session, space: AnchorSpaceRow) -> list[StoredSet]:
    """Return the anchors in a space of the latest versions that are not revoked, by slug."""
    return _sets(session, space)


def _sets(
    session: Session,
    space: AnchorSpaceRow,
    concept_id: int | None = None,
    number: int | None = None,
) -> list[StoredSet]:
    latest = (
        select(ConceptVersion.concept_id, func.max(ConceptVersion.number).label("number"))
        .where(ConceptVersion.state != "revoked")
        .group_by(ConceptVersion.concept_id)
        .subquery()
    )
    # Columns, not objects: a search pays for this each time.
    query = (
        select(
            Concept.slug, ConceptVersion.number,
            AnchorSetRow.digest, AnchorSetRow.anchors, AnchorSetRow.blob,
        )
        .join(ConceptVersion, ConceptVersion.concept_id == Concept.id)
        .join(VersionAnchors, VersionAnchors.version_id == ConceptVersion.id)
        .join(AnchorSetRow, AnchorSetRow.id == VersionAnchors.anchor_set_id)
        .where(VersionAnchors.space_id == space.id)
    )  # fmt: skip
    if concept_id is not None:
        query = query.where(Concept.id == concept_id)
    if number is not None:
        query = query.where(ConceptVersion.number == number)
    else:
        query = query.join(
            latest,
            (latest.c.concept_id == ConceptVersion.concept_id)
            & (latest.c.number == ConceptVersion.number),
        )
    sets = [StoredSet(IndexInput(*row[:4]), row[4]) for row in session.execute(query)]
    return sorted(sets, key=lambda item: item.input.slug)  # Databases collate differently.


def _state(connection: Connection) -> str:
    """Return the newest audit event's digest, "" for none: every change writes one."""
    # As text, which takes half as long: each search pays for it.
    query = "SELECT digest FROM audit_event ORDER BY number DESC LIMIT 1"
    return connection.exec_driver_sql(query).scalar() or ""


def _space(session: Session, digest: str) -> AnchorSpaceRow:
    row = session.scalars(select(AnchorSpaceRow).filter_by(digest=digest)).first()
    if row is None:
        raise NotFoundError(f"No anchors in the anchor space {digest[:12]}.")
    return row


def _check(vectors: NDArray[Any], dim: int, k: int) -> None:
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dim:
        raise MismatchError(f"Queries have shape {array.shape}, the space needs (n, {dim}).")
    if not np.isfinite(array).all():
        raise ValueError("queries hold NaN or infinity")
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
