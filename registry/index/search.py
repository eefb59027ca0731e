"""Search: the anchors nearest to a feature, found by FAISS and scored again exactly."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, create_engine, select
from sqlalchemy.orm import Session

from concepts.errors import MismatchError, NotFoundError, VerificationError
from registry.answers import LookedAt, SearchHit, SpaceInfo
from registry.index.cache import IndexCache, OpenIndex
from registry.index.scope import StoredSet, draft_sets, sets_in_use, sets_of
from registry.store.blobs import BlobStore
from registry.store.db import named_errors, open_session
from registry.store.models import AnchorSpaceRow
from registry.vectors.exact import Stack, nearest, unit_vectors
from registry.versions.reading import find_concept, read_space


def list_spaces(session: Session) -> list[SpaceInfo]:
    """Return the anchor spaces, with what a search looks at in each."""
    spaces = []
    for row in session.scalars(select(AnchorSpaceRow).order_by(AnchorSpaceRow.digest)).all():
        sets = sets_in_use(session, row)
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
    *,
    drafts: bool = False,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of the versions in use for each vector, best first.

    Drafts, where they are asked for too, are compared one by one: they change too often for an
    index.
    """
    row = _space(session, space_digest)
    _check(vectors, row.dim, k)
    index = space_index(session, store, cache, row)
    hits: list[list[SearchHit]]
    hits = [[] for _ in vectors] if index is None else index.search(vectors, k)
    if drafts:
        more = _compare(store, row, draft_sets(session, row), vectors, k)
        hits = [
            sorted([*used, *new], key=lambda hit: (-hit.score, hit.slug, hit.version, hit.anchor))
            for used, new in zip(hits, more, strict=True)
        ]
    return [best[:k] for best in hits]


def space_index(
    session: Session,
    store: BlobStore,
    cache: IndexCache,
    space: AnchorSpaceRow,
    kind: str | None = None,
) -> OpenIndex | None:
    """Return the index of a space's versions in use, None where they have no anchors.

    Raises:
        GateError: If an index of the kind asked for finds too few of the nearest anchors.
        VerificationError: If stored anchors are damaged.
    """
    sets = {item.input: item for item in sets_in_use(session, space)}
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
    *,
    drafts: bool = False,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of one concept for each vector: a version's, or those in use.

    One concept's anchors are few: each is compared, without an index.
    """
    row = _space(session, space_digest)
    _check(vectors, row.dim, k)
    find_concept(session, slug)
    if number is not None:
        sets = sets_of(session, row, slug, number)
    else:
        sets = sets_in_use(session, row, slug) + (draft_sets(session, row, slug) if drafts else [])
    if not sets:
        which = f"Version {number}" if number is not None else "No version in use"
        has = "has no" if number is not None else "has"
        raise NotFoundError(
            f"{which} of '{slug}' {has} anchors in the anchor space {space_digest[:12]}."
        )
    return _compare(store, row, sets, vectors, k)


def looked_at(session: Session, space_digest: str, *, drafts: bool = False) -> list[LookedAt]:
    """Return the versions that a search of a space looks at, by slug and number."""
    row = _space(session, space_digest)
    sets = sets_in_use(session, row) + (draft_sets(session, row) if drafts else [])
    found = [LookedAt(item.input.slug, item.input.version, item.state) for item in sets]
    return sorted(found, key=lambda item: (item.slug, item.version))


def _compare(
    store: BlobStore,
    space: AnchorSpaceRow,
    sets: Sequence[StoredSet],
    vectors: NDArray[Any],
    k: int,
) -> list[list[SearchHit]]:
    """Return the k nearest anchors of some sets for each vector, by comparing with every one."""
    if not sets:
        return [[] for _ in vectors]
    stack = Stack([item.rows(store, space.dim) for item in sets])

    def hit(row: int, score: float) -> SearchHit:
        part, anchor = stack.place(row)
        return SearchHit(sets[part].input.slug, sets[part].input.version, anchor, score)

    return [
        [hit(int(row), float(score)) for row, score in zip(*best, strict=True)]
        for best in nearest(stack, unit_vectors(vectors), k)
    ]


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
