"""What of the rows never changes, refused before it is written."""

from __future__ import annotations

from sqlalchemy import event, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper

from concepts.errors import PolicyError
from registry.store.models.anchors import AnchorSetRow, AnchorSpaceRow
from registry.store.models.audit import AuditCheckpoint, AuditEventRow
from registry.store.models.base import Base
from registry.store.models.channels import Channel, ChannelMove
from registry.store.models.jobs import OPEN_JOBS, JobRow
from registry.store.models.keys import KeyListRow, SignatureRow, SigningKey
from registry.store.models.releases import BundleRow, Release, ReleaseMember, ReleaseRevocation
from registry.store.models.reviews import Review
from registry.store.models.versions import MOVES, ConceptVersion, EvaluationRow, VersionAnchors

# Rows that never change; database triggers guard the same tables against other programs.
APPEND_ONLY = (
    AnchorSpaceRow, AnchorSetRow, EvaluationRow, Review, BundleRow, Release, ReleaseMember,
    ReleaseRevocation, Channel, ChannelMove, SigningKey, KeyListRow, SignatureRow, AuditEventRow,
    AuditCheckpoint,
)  # fmt: skip
VERSION_IDENTITY = ("concept_id", "number", "created_at", "created_by")
JOB_IDENTITY = ("kind", "arguments", "asked_at", "asked_by")
VERSION_CONTENT = ("definition", "content_digest", "authors")


def _refuse_update(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    if _changed(row, inspect(row).attrs.keys()):
        _refuse_delete(_mapper, _connection, row)


def _guard_version(_mapper: Mapper[Base], _connection: Connection, row: ConceptVersion) -> None:
    if _changed(row, VERSION_IDENTITY):
        raise PolicyError("The concept, number and origin of a version never change.")
    if _changed(row, VERSION_CONTENT) and row.state != "draft":
        raise PolicyError(
            f"Version {row.number} is {row.state}: its content is fixed. Make a new "
            "version: `uvr-registry copy-version`."
        )
    move = inspect(row).attrs.state.history
    before, after = [*move.deleted, *move.added] if move.has_changes() else ("", "")
    if before != after and (before, after) not in MOVES:
        raise PolicyError(f"A version never goes from {before} to {after}.")


def _guard_job(_mapper: Mapper[Base], _connection: Connection, row: JobRow) -> None:
    if _changed(row, JOB_IDENTITY):
        raise PolicyError("What a job is to do, and for whom, never changes; ask for another.")
    history = inspect(row).attrs.state.history
    before = [*history.deleted, *history.unchanged][0]
    if before not in OPEN_JOBS:
        raise PolicyError(f"Job {row.id} is {before}: it never changes again.")


def _changed(row: Base, names: object) -> bool:
    attributes = inspect(row).attrs
    return any(attributes[name].history.has_changes() for name in names)  # type: ignore[attr-defined]


def _refuse_delete(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    raise PolicyError(f"A row of '{row.__tablename__}' never changes; make a new one.")


for _table in APPEND_ONLY:
    event.listen(_table, "before_update", _refuse_update)
    event.listen(_table, "before_delete", _refuse_delete)
event.listen(ConceptVersion, "before_update", _guard_version)
event.listen(ConceptVersion, "before_delete", _refuse_delete)
event.listen(JobRow, "before_update", _guard_job)
event.listen(JobRow, "before_delete", _refuse_delete)
event.listen(VersionAnchors, "before_update", _refuse_update)
