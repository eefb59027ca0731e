"""The registry's one door: each noun is a service, each operation on the whole a function.

Functions on a whole registry, such as ``backup`` and ``diagnose``, are in ``registry.operations``.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from registry.answers import (
    ConceptDetail,
    ConceptInfo,
    Overlap,
    ReleaseInfo,
    SearchHit,
    VersionInfo,
)
from registry.audit.trail import Trail
from registry.change.work import Work
from registry.change.workspace import Workspace
from registry.index.service import Index
from registry.keys.service import Keys
from registry.releases.channels import Channels
from registry.releases.gaps import Gap
from registry.releases.service import Releases
from registry.store.blobs import BlobStore
from registry.store.db import connect, database_url, require_head
from registry.store.home import bind_home, make_home, registry_id, require_home_of
from registry.team import Team
from registry.versions.concepts import Concepts
from registry.versions.exemplars import Exemplar, Exemplars
from registry.versions.service import Versions

if TYPE_CHECKING:
    from concepts.bundle import Bundle
    from registry.index.ranking import Attribution

__all__ = ["Registry"]


class Registry:
    """Concepts, versions and releases of one folder and its database.

    Each method of a service is one transaction: it does all of its work or, on any error, none.
    Every method that changes something writes one audit event. See ``create`` and ``open``.

    Attributes:
        workspace: Folder, database and blobs, which the functions of ``registry.operations`` take.
        concepts: What is banned.
        versions: Their versions, and the life of each.
        exemplars: The pictures that anchors came from.
        index: Search over the anchors.
        releases: Numbered, locked sets of versions.
        channels: Which release is live where.
        keys: Who may sign releases.
        team: Who may do what, and the policy.
        audit: The audit trail.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.concepts = _CallableConcepts(workspace)  # Concepts once the old names are gone
        self.versions = Versions(workspace)
        self.exemplars = Exemplars(workspace)
        self.index = Index(workspace)
        self.releases = _CallableReleases(workspace)  # Releases, likewise
        self.channels = Channels(workspace)
        self.keys = _SigningKeys(workspace)  # Keys, likewise
        self.team = Team(workspace)
        self.audit = Trail(workspace)

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
        return cls(Workspace.of(home, engine))

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
        return cls(Workspace.of(home, engine, dry_run=dry_run))

    @property
    def home(self) -> Path:
        """Folder of blobs and index."""
        return self.workspace.home

    @property
    def dry_run(self) -> bool:
        """Whether every change is rolled back after it was made."""
        return self.workspace.dry_run

    # ---- From here on: removed once the commands use the services. ----

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.workspace.engine

    @property
    def store(self) -> BlobStore:
        """The blobs."""
        return self.workspace.store

    @property
    def review(self) -> Versions:
        """Old name of ``versions``."""
        return self.versions

    @property
    def sources(self) -> Exemplars:
        """Old name of ``exemplars``."""
        return self.exemplars

    @property
    def actors(self) -> Team:
        """Old name of ``team``."""
        return self.team

    def read(self) -> AbstractContextManager[Session]:
        """Old name of ``workspace.read``."""
        return self.workspace.read()

    def work(self, actor: str, role: str) -> AbstractContextManager[Work]:
        """Old name of ``workspace.work``."""
        return self.workspace.work(actor, role)

    def add_concept(
        self, definition: ConceptDefinition, *, actor: str, expect_digest: str | None = None
    ) -> ConceptInfo:
        """Old name of ``concepts.add``."""
        return self.concepts.add(definition, actor=actor, expect_digest=expect_digest)

    def concept(self, slug: str) -> ConceptDetail:
        """Old name of ``concepts.get``."""
        return self.concepts.get(slug)

    def add_version(
        self,
        slug: str,
        collections: Sequence[tuple[AnchorSet, Scorer]],
        *,
        actor: str,
        definition_digest: str | None = None,
        sources: Sequence[Exemplar] = (),
    ) -> VersionInfo:
        """Old name of ``versions.add``."""
        return self.versions.add(
            slug, collections, actor=actor, definition_digest=definition_digest, exemplars=sources
        )

    def anchor_set(
        self, slug: str, space: str | AnchorSpace, number: int | None = None
    ) -> AnchorSet:
        """Old name of ``versions.anchor_set``."""
        return self.versions.anchor_set(slug, space, number)

    def search(self, *args: Any, **options: Any) -> list[list[SearchHit]]:
        """Old name of ``index.search``."""
        return self.index.search(*args, **options)

    def attribute(self, *args: Any, **options: Any) -> list[Attribution]:
        """Old name of ``index.attribute``."""
        return self.index.attribute(*args, **options)

    def overlaps(self, slug: str, collections: Sequence[tuple[AnchorSet, Scorer]]) -> list[Overlap]:
        """Old name of ``index.overlaps``."""
        return self.index.overlaps(slug, collections)

    def release(self, *args: Any, **options: Any) -> ReleaseInfo:
        """Old name of ``releases.add``."""
        return self.releases.add(*args, **options)

    def rollback(self, *args: Any, **options: Any) -> ReleaseInfo:
        """Old name of ``releases.roll_back``."""
        return self.releases.roll_back(*args, **options)

    def gaps(self, bundle_name: str, sequence: int | None = None) -> list[Gap]:
        """Old name of ``releases.gaps``."""
        return self.releases.gaps(bundle_name, sequence)

    def bundle(self, bundle_name: str, sequence: int | None = None) -> Bundle:
        """Old name of ``releases.bundle``."""
        return self.releases.bundle(bundle_name, sequence)


class _CallableConcepts(Concepts):
    def __call__(self) -> list[ConceptInfo]:
        return self.list()


class _CallableReleases(Releases):
    def __call__(self, bundle_name: str | None = None) -> list[ReleaseInfo]:
        return self.list(bundle_name)


class _SigningKeys(Keys):
    def sign(self, *args: Any, **options: Any) -> ReleaseInfo:
        return Releases(self._workspace).sign(*args, **options)
