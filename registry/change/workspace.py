"""What every service works with: a registry's folder, its database and its blobs."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from registry.change.work import Work, work
from registry.store.blobs import BlobStore
from registry.store.db import open_session


@dataclass(frozen=True)
class Workspace:
    """A registry's folder, database and blobs.

    Attributes:
        home: Folder of blobs and index.
        engine: The database.
        store: The blobs.
        dry_run: Whether every change is rolled back after it was made.
    """

    home: Path
    engine: Engine
    store: BlobStore
    dry_run: bool = False

    @classmethod
    def of(cls, home: Path, engine: Engine, *, dry_run: bool = False) -> Workspace:
        """Return the workspace of a folder, whose blobs are where every registry has them."""
        return cls(home, engine, BlobStore(home / "blobs"), dry_run)

    def read(self) -> AbstractContextManager[Session]:
        """Open a session that sees one snapshot."""
        return open_session(self.engine)

    def work(self, actor: str, role: str) -> AbstractContextManager[Work]:
        """Open a unit of work for an actor who must have a role; rolled back in a dry run."""
        return work(self.engine, self.store, actor, role, dry_run=self.dry_run)
