"""The registry's one door: every command and every other package goes through ``Registry``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import NotFoundError
from concepts.scorer import Scorer
from registry.answers import (
    ConceptDetail,
    ConceptInfo,
    Overlap,
    ReleaseInfo,
    SearchHit,
    SpaceInfo,
    VersionInfo,
)
from registry.audit.trail import Trail
from registry.change.work import Work, work
from registry.keys import Keys
from registry.releases import release
from registry.releases.channels import Channels
from registry.releases.gaps import Gap
from registry.releases.gaps import gaps as find_gaps
from registry.store.blobs import BlobStore
from registry.store.db import (
    connect,
    database_url,
    default_home,
    default_url,
    require_head,
    session,
)
from registry.store.home import bind_home, make_home, registry_id, require_home_of
from registry.team import Actors
from registry.versions import adding, reading
from registry.versions.exemplars import SourceRef, Sources
from registry.versions.review import Reviews

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from concepts.signing.ed25519 import PrivateKey
    from registry.index.cache import IndexCache
    from registry.index.ranking import Attribution, FiredFeature
    from registry.index.search import States

__all__ = ["Registry", "default_home", "default_url"]


class Registry:
    """Concepts, versions and releases of one folder and its database.

    Each method is one transaction: it does all of its work or, on any error, none. Every method
    that changes something writes one audit event. See ``create`` and ``open``.

    Attributes:
        home: Folder of blobs and index.
        engine: The database.
        store: The blobs.
        dry_run: Whether every change is rolled back after it was made.
        actors: Who may do what, and the policy.
        review: Submit, approve, edit, deprecate, revoke.
        sources: Where anchors came from.
        keys: Who may sign releases.
        channels: Which release is live where.
        audit: The audit trail.
    """

    def __init__(self, home: Path, engine: Engine, *, dry_run: bool = False) -> None:
        self.home = home
        self.engine = engine
        self.store = BlobStore(home / "blobs")
        self.dry_run = dry_run
        self.actors = Actors(self)
        self.review = Reviews(self)
        self.sources = Sources(self)
        self.keys = Keys(self)
        self.channels = Channels(self)
        self.audit = Trail(self)

    @classmethod
    def create(cls, home: Path, url: str | None = None) -> Registry:
        """Make a registry, or migrate an existing one to this program's schema.

        Args:
            home: Folder for blobs, index and, unless another database is named, the database.
            url: Database URL; by default ``UVR_DATABASE_URL``, else SQLite in the folder.

        Raises:
            SchemaError: If the database was made by a newer program.
            ConflictError: If the folder belongs to another registry.
            UVRError: If the folder or the database cannot be written.
        """
        # Alembic takes half a second to import, which only this command should pay for.
        from registry.store.schema import upgrade  # noqa: PLC0415

        home = Path(home)
        make_home(home)
        engine = connect(database_url(home, url))
        require_home_of(home, registry_id(engine))
        upgrade(engine)
        bind_home(home, registry_id(engine) or "")
        return cls(home, engine)

    @classmethod
    def open(cls, home: Path, url: str | None = None, *, dry_run: bool = False) -> Registry:
        """Open an existing registry.

        Args:
            home: Its folder.
            url: Database URL, as in ``create``.
            dry_run: Make each change and roll it back.

        Raises:
            NotFoundError: If there is none.
            SchemaError: If its schema is older or newer than this program's.
            ConflictError: If the folder belongs to another registry.
        """
        home = Path(home)
        engine = connect(database_url(home, url))
        require_head(engine, home)
        require_home_of(home, registry_id(engine))
        return cls(home, engine, dry_run=dry_run)

    def read(self) -> AbstractContextManager[Session]:
        """Open a session that sees one snapshot."""
        return session(self.engine)

    def work(self, actor: str, role: str) -> AbstractContextManager[Work]:
        """Open a unit of work for an actor who must have a role; rolled back in a dry run."""
        return work(self.engine, self.store, actor, role, dry_run=self.dry_run)

    @cached_property
    def index_cache(self) -> IndexCache:
        """The FAISS indexes that are open; loading FAISS takes 0.2 s, so they wait for a use."""
        from registry.index.cache import IndexCache  # noqa: PLC0415

        return IndexCache(self.home / "index")

    @cached_property
    def _states(self) -> States:
        from registry.index.search import States  # noqa: PLC0415 (FAISS)

        return States(self.engine)

    def add_concept(
        self, definition: ConceptDefinition, *, actor: str, expect_digest: str | None = None
    ) -> ConceptInfo:
        """Add a concept, or give an existing one the definition for its next version.

        Args:
            definition: The definition.
            actor: Who does it.
            expect_digest: Digest that the current definition must have.

        Raises:
            ConflictError: If it exists with another category or with this very definition, or
                the current definition is not the one expected.
        """
        with self.work(actor, "curator") as unit:
            adding.add_concept(unit, definition, expect_digest)
            found = reading.list_concepts(unit.session)
            return next(info for info in found if info.slug == definition.slug)

    def concepts(self) -> list[ConceptInfo]:
        """Return all concepts, sorted by slug."""
        with self.read() as opened:
            return reading.list_concepts(opened)

    def concept(self, slug: str) -> ConceptDetail:
        """Return a concept and its versions; NotFoundError names the closest slug."""
        with self.read() as opened:
            return reading.concept_detail(opened, reading.find_concept(opened, slug))

    def add_version(
        self,
        slug: str,
        collections: Sequence[tuple[AnchorSet, Scorer]],
        *,
        actor: str,
        definition_digest: str | None = None,
        sources: Sequence[SourceRef] = (),
    ) -> VersionInfo:
        """Add the next version of a concept, with its current definition, as a draft.

        Anchors that the latest version, revoked ones aside, has of other models and tasks are
        carried over.

        Args:
            slug: The concept.
            collections: Anchors and scorer, one pair for each anchor space.
            actor: Who does it.
            definition_digest: Digest of the definition that the anchors were collected with;
                None where they do not come from its texts.
            sources: The pictures that the anchors came from, by hash.

        Raises:
            NotFoundError: If there is no such concept.
            ConflictError: If a version with the same content exists, or the definition is not,
                or no longer, the one collected with.
            UVRError: If the disk is full.
        """
        adding.check_collections(collections)
        with self.work(actor, "curator") as unit:
            concept = reading.find_concept(unit.session, slug)
            added = adding.add_version(
                unit, concept, collections, definition_digest=definition_digest, sources=sources
            )
            return reading.version_info(unit.session, concept, added)

    def anchor_set(
        self, slug: str, space: str | AnchorSpace, number: int | None = None
    ) -> AnchorSet:
        """Return the anchors of a version, the latest by default, in one space.

        Raises:
            NotFoundError: If the concept, the version or its anchors there do not exist.
            VerificationError: If the stored bytes are damaged.
        """
        with self.read() as opened:
            concept = reading.find_concept(opened, slug)
            row = reading.find_version(opened, concept, number)
            for entry in reading.stored_anchors(opened, row):
                if entry.space.digest == _digest(space):
                    return reading.read_anchor_set(self.store, entry.anchor_set)
        raise NotFoundError(
            f"Version {row.number} of '{slug}' has no anchors in space {_digest(space)[:12]}."
        )

    def spaces(self) -> list[SpaceInfo]:
        """Return the anchor spaces, with what the latest versions hold in each."""
        from registry.index.search import list_spaces  # noqa: PLC0415 (FAISS, as in `search`)

        with self.read() as opened:
            return list_spaces(opened)

    def search(
        self,
        space: str | AnchorSpace,
        vectors: NDArray[Any],
        k: int = 10,
        *,
        slug: str | None = None,
        version: int | None = None,
    ) -> list[list[SearchHit]]:
        """Return the anchors nearest to each vector, of the latest versions that are not revoked.

        Args:
            space: The anchor space of the vectors, or its digest.
            vectors: Features, (q, dim), finite.
            k: How many for each vector.
            slug: Only this concept's.
            version: Only this version's, with ``slug``.

        Returns:
            For each vector at most k hits, by falling cosine, then slug, then anchor.

        Raises:
            NotFoundError: If no anchors were ever collected in this space.
            MismatchError: If the vectors are not of this space's size.
        """
        from registry.index.search import search_concept, search_current  # noqa: PLC0415 (FAISS)

        digest = _digest(space)
        if slug is not None:
            with self.read() as opened:
                return search_concept(opened, self.store, slug, version, digest, vectors, k)
        return search_current(
            self.engine, self._states, self.store, self.index_cache, digest, vectors, k
        )

    def attribute(
        self, space: str | AnchorSpace, fired: Iterable[FiredFeature], k: int = 3
    ) -> list[Attribution]:
        """Return the anchors, of the versions that fired, nearest to what fired.

        Args:
            space: The anchor space of the features, or its digest.
            fired: What fired, as a report tells.
            k: How many for each feature.

        Raises:
            NotFoundError: If a concept or version does not exist, or has no anchors there.
            MismatchError: If the features are not of this space's size.
        """
        from registry.index.ranking import attribute  # noqa: PLC0415 (FAISS)

        with self.read() as opened:
            return attribute(opened, self.store, _digest(space), fired, k)

    def overlaps(
        self, slug: str, collections: Sequence[tuple[AnchorSet, Scorer]], distance: float = 0.05
    ) -> list[Overlap]:
        """Return the other concepts whose anchors lie near some new ones, by falling share.

        Args:
            slug: The concept that the anchors are for.
            collections: As for ``add_version``.
            distance: Greatest cosine distance that counts as near.
        """
        from registry.index.overlap import overlaps  # noqa: PLC0415 (FAISS)

        with self.read() as opened:
            return overlaps(opened, self.store, slug, collections, distance)

    def release(
        self,
        bundle_name: str,
        members: Sequence[str] | None = None,
        *,
        actor: str,
        modes: Mapping[str, str] | None = None,
        thresholds: Mapping[str, Any] | None = None,
        disabled: Mapping[str, str | None] | None = None,
        allow_shrink: bool = False,
        expires: str | None = None,
        note: str = "",
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
    ) -> ReleaseInfo:
        """Release versions of concepts as the next release of a bundle.

        Args:
            bundle_name: The bundle; a new name begins a new one.
            members: Concepts, "slug" for the newest version that may be released or "slug@3";
                by default every concept that has one.
            actor: Who does it.
            modes: "enforce", "log" or "shadow" by slug; else as in the release before.
            thresholds: Seed threshold by slug: a number, one for each task or space digest, or
                None for the scorer's own.
            disabled: Instant until which a concept is not enforced, by slug; None enables it.
            allow_shrink: Let the release enforce fewer concepts than the one before.
            expires: Instant, or time from now such as "30d", after which engines refuse it.
            note: Why.
            keys: Private keys of the current key list that sign at once.
            expect_digest: Bundle digest that the release before must have, "" for none.

        Raises:
            NotFoundError: If a concept or version does not exist.
            ConflictError: If the release before is not the one expected.
            PolicyError: If there is nothing to release, a member may not be released, too many
                enforced concepts would go, or anchors of one model and task come from different
                taps, noise levels or weights.
        """
        with self.work(actor, "publisher") as unit:
            made = release.add_release(
                unit, self.store, bundle_name, members, modes=modes or {},
                thresholds=thresholds or {}, disabled=disabled or {}, allow_shrink=allow_shrink,
                expires=expires, note=note, keys=keys, expect_digest=expect_digest,
            )  # fmt: skip
            return release.release_info(unit.session, *made)

    def rollback(
        self,
        bundle_name: str,
        sequence: int,
        *,
        actor: str,
        reason: str,
        allow_shrink: bool = False,
        expires: str | None = None,
        keys: Sequence[PrivateKey] = (),
        expect_digest: str | None = None,
    ) -> ReleaseInfo:
        """Release the members of an earlier release again, under the next number.

        Raises:
            NotFoundError: If there is no such bundle or release.
            PolicyError: If a member was revoked meanwhile, or enforced concepts would go.
        """
        with self.work(actor, "publisher") as unit:
            made = release.roll_back(
                unit, self.store, bundle_name, sequence, reason=reason,
                allow_shrink=allow_shrink, expires=expires, keys=keys,
                expect_digest=expect_digest,
            )  # fmt: skip
            return release.release_info(unit.session, *made)

    def releases(self, bundle_name: str | None = None) -> list[ReleaseInfo]:
        """Return all releases, or those of one bundle, by bundle and sequence."""
        with self.read() as opened:
            return release.list_releases(opened, bundle_name)

    def gaps(self, bundle_name: str, sequence: int | None = None) -> list[Gap]:
        """Return what a release, the newest by default, leaves uncovered.

        Raises:
            NotFoundError: If there is no such bundle or release.
        """
        with self.read() as opened:
            return find_gaps(opened, release.find_release(opened, bundle_name, sequence)[1])

    def bundle(self, bundle_name: str, sequence: int | None = None) -> Bundle:
        """Return a release's bundle, the newest by default, with its signatures.

        Raises:
            NotFoundError: If there is no such bundle or release.
            VerificationError: If stored bytes are damaged.
        """
        with self.read() as opened:
            found = release.find_release(opened, bundle_name, sequence)
            return release.read_bundle_of(opened, self.store, *found)


def _digest(space: str | AnchorSpace) -> str:
    return space.digest if isinstance(space, AnchorSpace) else space
