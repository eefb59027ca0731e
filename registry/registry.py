"""The registry's one door: every command and every other package goes through ``Registry``."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from sqlalchemy import Engine, select

from concepts.anchors import AnchorSet, AnchorSpace, Scorer
from concepts.bundle import Bundle
from concepts.definition import ConceptDefinition
from concepts.errors import NotFoundError, UVRError
from registry import audit, reading, release, versions
from registry.db import (
    connect,
    database_url,
    default_home,
    default_url,
    require_head,
    session,
)
from registry.info import (
    ConceptDetail,
    ConceptInfo,
    ReleaseInfo,
    SearchHit,
    SpaceInfo,
    VersionInfo,
)
from registry.models import ConceptVersion
from registry.store import BlobStore

__all__ = ["Registry", "default_home", "default_url"]


class Registry:
    """Concepts, versions and releases of one folder and its database.

    Each method is one transaction: it does all of its work or, on any error, none. Every method
    that changes something writes one audit event. See ``create`` and ``open``.
    """

    def __init__(self, home: Path, engine: Engine) -> None:
        self.home = home
        self.engine = engine
        self.store = BlobStore(home / "blobs")

    @classmethod
    def create(cls, home: Path, url: str | None = None) -> Registry:
        """Make a registry, or migrate an existing one to this program's schema.

        Args:
            home: Folder for blobs, index and, unless another database is named, the database.
            url: Database URL; by default ``UVR_DATABASE_URL``, else SQLite in the folder.

        Raises:
            SchemaError: If the database was made by a newer program.
            UVRError: If the folder or the database cannot be written.
        """
        # Alembic takes half a second to import, which only this command should pay for.
        from registry.migrate import upgrade  # noqa: PLC0415

        home = Path(home)
        try:
            (home / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full" if full else error.strerror
            raise UVRError(f"Cannot make a registry at '{home}': {why}.") from error
        engine = connect(database_url(home, url))
        upgrade(engine)
        return cls(home, engine)

    @classmethod
    def open(cls, home: Path, url: str | None = None) -> Registry:
        """Open an existing registry.

        Raises:
            NotFoundError: If there is none.
            SchemaError: If its schema is older or newer than this program's.
        """
        home = Path(home)
        engine = connect(database_url(home, url))
        require_head(engine, home)
        return cls(home, engine)

    def add_concept(self, definition: ConceptDefinition, *, actor: str) -> ConceptInfo:
        """Add a concept, or give an existing one the definition for its next version.

        Raises:
            ConflictError: If it exists with another category or with this very definition.
        """
        with session(self.engine, write=True) as opened:
            versions.add_concept(opened, definition, _checked(actor))
            found = reading.list_concepts(opened)
            return next(info for info in found if info.slug == definition.slug)

    def concepts(self) -> list[ConceptInfo]:
        """Return all concepts, sorted by slug."""
        with session(self.engine) as opened:
            return reading.list_concepts(opened)

    def concept(self, slug: str) -> ConceptDetail:
        """Return a concept and its versions; NotFoundError names the closest slug."""
        with session(self.engine) as opened:
            return reading.concept_detail(opened, reading.find_concept(opened, slug))

    def add_version(
        self,
        slug: str,
        collections: Sequence[tuple[AnchorSet, Scorer]],
        *,
        actor: str,
        definition_digest: str | None = None,
    ) -> VersionInfo:
        """Add the next version of a concept, with its current definition.

        Anchors that the latest version has of other models and tasks are carried over.

        Args:
            slug: The concept.
            collections: Anchors and scorer, one pair for each anchor space.
            actor: Who does it.
            definition_digest: Digest of the definition that the anchors were collected with;
                None where they do not come from its texts.

        Raises:
            NotFoundError: If there is no such concept.
            ConflictError: If a version with the same content exists, or the definition is not,
                or no longer, the one collected with.
            UVRError: If the disk is full.
        """
        _check_collections(collections)
        with session(self.engine, write=True) as opened:
            concept = reading.find_concept(opened, slug)
            added = versions.add_version(
                opened, self.store, concept, collections,
                actor=_checked(actor), definition_digest=definition_digest,
            )  # fmt: skip
            return reading.version_info(opened, concept, added)

    def anchor_set(
        self, slug: str, space: str | AnchorSpace, number: int | None = None
    ) -> AnchorSet:
        """Return the anchors of a version, the latest by default, in one space.

        Raises:
            NotFoundError: If the concept, the version or its anchors there do not exist.
            VerificationError: If the stored bytes are damaged.
        """
        with session(self.engine) as opened:
            concept = reading.find_concept(opened, slug)
            query = select(ConceptVersion).where(ConceptVersion.concept_id == concept.id)
            if number is not None:
                query = query.where(ConceptVersion.number == number)
            row = opened.scalars(query.order_by(ConceptVersion.number.desc())).first()
            if row is None:
                which = "version" if number is None else f"version {number}"
                raise NotFoundError(f"Concept '{slug}' has no {which} yet.")
            for entry in reading.stored_anchors(opened, row):
                if entry.space.digest == _digest(space):
                    return reading.read_anchor_set(self.store, entry.anchor_set)
        raise NotFoundError(
            f"Version {row.number} of '{slug}' has no anchors in space {_digest(space)[:12]}."
        )

    def spaces(self) -> list[SpaceInfo]:
        """Return the anchor spaces, with what the latest versions hold in each."""
        from registry.search import list_spaces  # noqa: PLC0415 (FAISS, as in `search`)

        with session(self.engine) as opened:
            return list_spaces(opened)

    def search(
        self, space: str | AnchorSpace, vectors: NDArray[Any], k: int = 10
    ) -> list[list[SearchHit]]:
        """Return the anchors of the latest versions nearest to each vector.

        Args:
            space: The anchor space of the vectors, or its digest.
            vectors: Features, (q, dim), finite.
            k: How many for each vector.

        Returns:
            For each vector at most k hits, by falling cosine, then slug, then anchor.

        Raises:
            NotFoundError: If no anchors were ever collected in this space.
            MismatchError: If the vectors are not of this space's size.
        """
        from registry.search import search  # noqa: PLC0415 (FAISS costs 0.2 s to import)

        with session(self.engine) as opened:
            return search(opened, self.store, self.home / "index", _digest(space), vectors, k)

    def release(
        self, bundle_name: str, slugs: Sequence[str] | None = None, *, actor: str
    ) -> ReleaseInfo:
        """Release the latest version of the concepts named, by default of all that have one.

        Raises:
            NotFoundError: If a concept does not exist.
            PolicyError: If there is nothing to release, a named concept has no anchors, or
                anchors of one model and task come from different taps, noise levels or weights.
        """
        with session(self.engine, write=True) as opened:
            release.add_release(opened, self.store, bundle_name, slugs, actor=_checked(actor))
            opened.flush()
            return release.release_info(opened, *release.find_release(opened, bundle_name))

    def releases(self) -> list[ReleaseInfo]:
        """Return all releases, by bundle and sequence."""
        with session(self.engine) as opened:
            return release.list_releases(opened)

    def bundle(self, bundle_name: str, sequence: int | None = None) -> Bundle:
        """Return a release's bundle, the newest by default.

        Raises:
            NotFoundError: If there is no such bundle or release.
            VerificationError: If stored bytes are damaged.
        """
        with session(self.engine) as opened:
            found = release.find_release(opened, bundle_name, sequence)
            return release.read_bundle_of(opened, self.store, *found)

    def audit_events(self) -> list[audit.AuditEvent]:
        """Return the audit trail, oldest first; VerificationError if its chain is broken."""
        with session(self.engine) as opened:
            return audit.read_trail(opened)


def _checked(actor: str) -> str:
    if not actor.strip():
        raise ValueError("actor must name who makes the change")
    return actor


def _digest(space: str | AnchorSpace) -> str:
    return space.digest if isinstance(space, AnchorSpace) else space


def _check_collections(collections: Sequence[tuple[AnchorSet, Scorer]]) -> None:
    if not collections:
        raise ValueError("a version needs anchors in at least one space")
    if len({anchors.space.digest for anchors, _ in collections}) != len(collections):
        raise ValueError("an anchor space occurs twice")
    for anchors, scorer in collections:
        if scorer.dim != anchors.space.dim:
            raise ValueError(
                f"the scorer has {scorer.dim} dimensions, its space {anchors.space.dim}"
            )
