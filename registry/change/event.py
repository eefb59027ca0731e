"""Audit events: one for each state change, in its transaction, chained by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json
from concepts.digest import json_digest
from registry.store.models import AuditEventRow

FIRST = "0" * 64  # What the first event names as the digest before it.
COVERED = ("number", "at", "actor", "action", "subject", "details", "prev_digest")


@dataclass(frozen=True)
class AuditEvent:
    """One state change.

    Attributes:
        number: Position in the trail, from 1.
        at: UTC, ISO 8601.
        actor: Who did it.
        action: What was done, such as "concept.add".
        subject: To what, such as "pistol@2".
        details: What else belongs to it; JSON.
        prev_digest: Digest of the event before.
        digest: SHA-256 over all of the above.
    """

    number: int
    at: str
    actor: str
    action: str
    subject: str
    details: Mapping[str, Any]
    prev_digest: str
    digest: str

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def record(
    session: Session, action: str, subject: str, *, actor: str, at: str, **details: Any
) -> None:
    """Add an event to the session's transaction, which must hold the write lock."""
    last = _last(session)
    event = {
        "number": last.number + 1 if last else 1,
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": canonical_json(details).decode(),
        "prev_digest": last.digest if last else FIRST,
    }
    session.add(AuditEventRow(**event, digest=json_digest(event)))
    session.flush()


def read_event(row: Any) -> AuditEvent:
    """Return the event of a row, or of its columns by name."""
    parts = {name: getattr(row, name) for name in (*COVERED, "digest")}
    return AuditEvent(**{**parts, "details": json.loads(row.details)})


def _last(session: Session) -> AuditEventRow | None:
    query = select(AuditEventRow).order_by(AuditEventRow.number.desc()).limit(1)
    return session.scalars(query).first()
