"""The registry's one door: each noun is a service, each operation on the whole a function.

Functions on a whole registry, such as ``backup`` and ``diagnose``, are in ``registry.operations``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from registry.audit.trail import Trail
from registry.change.workspace import Workspace
from registry.index.service import Index
from registry.jobs import Jobs
from registry.keys.service import Keys
from registry.releases.channels import Channels
from registry.releases.service import Releases
from registry.store.db import BUSY_SECONDS, connect, database_url, impatient, require_head
from registry.store.home import bind_home, make_home, registry_id, require_home_of
from registry.team import Team
from registry.versions.concepts import Concepts
from registry.versions.exemplars import Exemplars
from registry.versions.service import Versions

if TYPE_CHECKING:
    pass

__all__ = ["Registry"]


class Registry:
    """Concepts, versions and releases of one folder and its database.

    Each method of a service is one transaction: it does all of its work or, on any error, none.
    Every method that changes something writes one audit event, but for those of ``jobs``. See
    ``create`` and ``open``.

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
        jobs: What was asked for that takes long.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.concepts = Concepts(workspace)
        self.versions = Versions(workspace)
        self.exemplars = Exemplars(workspace)
        self.index = Index(workspace)
        self.releases = Releases(workspace)
        self.channels = Channels(workspace)
        self.keys = Keys(workspace)
        self.team = Team(workspace)
        self.audit = Trail(workspace)
        self.jobs = Jobs(workspace)

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

    def rehearsal(self, wait: float = BUSY_SECONDS) -> Registry:
        """Return the same registry, in which each change is made and rolled back.

        Args:
            wait: Seconds to wait for other writers at most, before BusyError.
        """
        engine = impatient(self.workspace.engine, wait)
        return Registry(replace(self.workspace, engine=engine, dry_run=True))

    @property
    def home(self) -> Path:
        """Folder of blobs and index."""
        return self.workspace.home

    @property
    def dry_run(self) -> bool:
        """Whether every change is rolled back after it was made."""
        return self.workspace.dry_run
