"""Search over a registry's anchors, and the indexes that make it fast.

FAISS takes 0.2 s to load, so everything that needs it is imported when it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.scorer import Scorer
from registry.answers import NEAR_DISTANCE, LookedAt, Overlap, SearchHit, SpaceInfo
from registry.change.workspace import Workspace

if TYPE_CHECKING:  # FAISS
    from registry.index.cache import IndexCache
    from registry.index.listing import IndexInfo
    from registry.index.ranking import Attribution, FiredFeature
    from registry.index.search import States


class Index:
    """Search over the anchors of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    @cached_property
    def cache(self) -> IndexCache:
        """The FAISS indexes that are open."""
        from registry.index.cache import IndexCache  # noqa: PLC0415 (FAISS)

        return IndexCache(self._workspace.home / "index")

    @cached_property
    def _states(self) -> States:
        from registry.index.search import States  # noqa: PLC0415 (FAISS)

        return States(self._workspace.engine)

    def spaces(self) -> list[SpaceInfo]:
        """Return the anchor spaces, with what a search looks at in each."""
        from registry.index.search import list_spaces  # noqa: PLC0415 (FAISS, as in `search`)

        with self._workspace.read() as session:
            return list_spaces(session)

    def search(
        self,
        space: str | AnchorSpace,
        vectors: NDArray[Any],
        k: int = 10,
        *,
        slug: str | None = None,
        version: int | None = None,
        drafts: bool = False,
    ) -> list[list[SearchHit]]:
        """Return the anchors nearest to each vector, of the versions that are in use.

        Those are the ones that are live in a channel and, of a concept without any, the newest
        approved one.

        Args:
            space: The anchor space of the vectors, or its digest.
            vectors: Features, (q, dim), finite.
            k: How many for each vector.
            slug: Only this concept's.
            version: Only this version's, with ``slug``, whatever its state.
            drafts: Look also at a concept's newest version where it is not approved yet.

        Returns:
            For each vector at most k hits, by falling cosine, then slug, version and anchor.

        Raises:
            NotFoundError: If no anchors were ever collected in this space.
            MismatchError: If the vectors are not of this space's size.
        """
        from registry.index import search  # noqa: PLC0415 (FAISS)

        digest, store = _digest(space), self._workspace.store
        if slug is not None:
            with self._workspace.read() as session:
                return search.search_concept(
                    session, store, slug, version, digest, vectors, k, drafts=drafts
                )
        if drafts:
            with self._workspace.read() as session:
                return search.search(session, store, self.cache, digest, vectors, k, drafts=True)
        engine = self._workspace.engine
        return search.search_current(engine, self._states, store, self.cache, digest, vectors, k)

    def looked_at(self, space: str | AnchorSpace, *, drafts: bool = False) -> list[LookedAt]:
        """Return the versions that a search of a space looks at, by slug and number.

        Raises:
            NotFoundError: If no anchors were ever collected in this space.
        """
        from registry.index.search import looked_at  # noqa: PLC0415 (FAISS)

        with self._workspace.read() as session:
            return looked_at(session, _digest(space), drafts=drafts)

    def attribute(
        self, space: str | AnchorSpace, fired: Iterable[FiredFeature], k: int = 3
    ) -> list[Attribution]:
        """Return the anchors, of the versions that fired, nearest to what fired.

        Args:
            space: The anchor space of the features, or its digest.
            fired: What fired, as a report says.
            k: How many for each feature.

        Raises:
            NotFoundError: If a concept or version does not exist, or has no anchors there.
            MismatchError: If the features are not of this space's size.
        """
        from registry.index.ranking import attribute  # noqa: PLC0415 (FAISS)

        with self._workspace.read() as session:
            return attribute(session, self._workspace.store, _digest(space), fired, k)

    def overlaps(
        self,
        slug: str,
        collections: Sequence[tuple[AnchorSet, Scorer]],
        distance: float = NEAR_DISTANCE,
        *,
        drafts: bool = False,
    ) -> list[Overlap]:
        """Return the versions of other concepts that have, or nearly, some new anchors.

        They are sorted by falling share. Looked at is what ``search`` looks at.

        Args:
            slug: The concept that the anchors are for.
            collections: As for ``Versions.add``.
            distance: Greatest cosine distance that counts as near.
            drafts: As for ``search``.
        """
        from registry.index.overlap import overlaps  # noqa: PLC0415 (FAISS)

        with self._workspace.read() as session:
            return overlaps(
                session, self._workspace.store, slug, collections, distance, drafts=drafts
            )

    def build(self, kind: str | None = None) -> list[IndexInfo]:
        """Return the index of each space that has anchors, built where it is missing or stale.

        Args:
            kind: One of ``registry.index.kinds.KINDS``; by default the one that fits the size.

        Raises:
            GateError: If an index of the kind asked for finds too few of the nearest anchors.
            VerificationError: If stored anchors are damaged.
        """
        from registry.index.listing import list_indexes  # noqa: PLC0415 (FAISS)

        with self._workspace.read() as session:
            return list_indexes(session, self._workspace.store, self.cache, kind)


def _digest(space: str | AnchorSpace) -> str:
    return space.digest if isinstance(space, AnchorSpace) else space
