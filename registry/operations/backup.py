"""Backup: one snapshot of the whole registry as one file, whichever its database is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json
from concepts.digest import is_digest
from concepts.errors import VerificationError
from registry.audit.chain import check_chain
from registry.change.policy import policy_row
from registry.change.workspace import Workspace
from registry.operations import rows
from registry.operations.archive import ABOUT, FORMAT, Progress, new_entry, writing
from registry.operations.doctor import content_problems
from registry.operations.gc import named_blobs
from registry.store.blobs import BlobStore
from registry.store.db import HEAD
from registry.store.home import refuse_own_file
from registry.store.models import Base


@dataclass(frozen=True)
class BackupInfo:
    """What a backup holds.

    Attributes:
        path: The file.
        registry: Id of the registry.
        schema: Schema of its database.
        tables: Number of rows by table.
        blobs: Number of blobs.
        events: Number of the newest audit event.
        digest: That event's digest.
        problems: What the doctor finds wrong; a registry restored from it has the same.
    """

    path: str
    registry: str
    schema: str
    tables: dict[str, int]
    blobs: int
    events: int
    digest: str
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def backup(workspace: Workspace, path: Path, progress: Progress | None = None) -> BackupInfo:
    """Write one snapshot of a registry to a file; each blob is verified on its way.

    A registry in which the doctor finds problems is backed up all the same; the file lists them.

    Args:
        workspace: The registry.
        path: The file; an older one is replaced once the new one is whole.
        progress: Called with the number of blobs written, and of all.

    Raises:
        VerificationError: If the audit chain is broken, a blob is damaged or missing, or a row
            holds what no backup can, such as bytes in a text's place.
        ConflictError: If the file is a part of the registry itself.
        UVRError: If the file cannot be written.
    """
    path = Path(path)
    refuse_own_file(path, workspace.home, workspace.engine.url)
    with writing(path) as archive, workspace.read() as session:
        blobs = sorted(named_blobs(session), key=str)
        info = _describe(session, workspace.store, path, len(blobs))
        about = {"format": FORMAT, **info.to_dict()}
        del about["path"]
        with new_entry(archive, ABOUT) as entry:
            entry.write(canonical_json(about))
        for table in Base.metadata.sorted_tables:
            with new_entry(archive, f"tables/{table.name}.jsonl") as entry:
                for line in rows.lines(session, table):
                    entry.write(line)
        for done, digest in enumerate(blobs, 1):
            if not is_digest(digest):
                raise VerificationError(f"A row names the blob {digest!r}, which is no SHA-256.")
            with new_entry(archive, f"blobs/{digest}") as entry:
                for part in workspace.store.read(digest):
                    entry.write(part)
            if progress:
                progress(done, len(blobs))
    return info


def _describe(session: Session, store: BlobStore, path: Path, blobs: int) -> BackupInfo:
    head = check_chain(session)
    counts = {
        table.name: session.execute(select(func.count()).select_from(table)).scalar_one()
        for table in Base.metadata.sorted_tables
    }
    registry_id = str(policy_row(session).registry_id)  # Bytes, if broken: its table says so.
    return BackupInfo(
        path=str(path),
        registry=registry_id,
        schema=HEAD,
        tables=counts,
        blobs=blobs,
        events=head.number,
        digest=head.digest,
        problems=content_problems(session, store),
    )
