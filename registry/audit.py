"""The audit trail: one event for each state change, in its transaction, chained by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.digest import canonical_json, json_digest
from concepts.errors import VerificationError
from registry.models import AuditEventRow

FIRST = "0" * 64  # What the first event names as the digest before it.


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


def now() -> str:
    """Return the time as the database holds it: UTC, microseconds, "Z"."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record(
    opened: Session, action: str, subject: str, *, actor: str, at: str, **details: Any
) -> None:
    """Add an event to the session's transaction, which must hold the write lock."""
    last = opened.scalars(select(AuditEventRow).order_by(AuditEventRow.number.desc())).first()
    event = {
        "number": last.number + 1 if last else 1,
        "at": at,
        "actor": actor,
        "action": action,
        "subject": subject,
        "details": canonical_json(details).decode(),
        "prev_digest": last.digest if last else FIRST,
    }
    opened.add(AuditEventRow(**event, digest=json_digest(event)))
    opened.flush()


def read_trail(opened: Session) -> list[AuditEvent]:
    """Return all events, oldest first, after checking the chain.

    Raises:
        VerificationError: If an event was changed, removed or put in.
    """
    rows = opened.scalars(select(AuditEventRow).order_by(AuditEventRow.number)).all()
    _check_chain(rows)
    return [
        AuditEvent(
            row.number, row.at, row.actor, row.action, row.subject,
            json.loads(row.details), row.prev_digest, row.digest,
        )
        for row in rows
    ]  # fmt: skip


def _check_chain(rows: Sequence[AuditEventRow]) -> None:
    previous = FIRST
    for number, row in enumerate(rows, 1):
        names = ("number", "at", "actor", "action", "subject", "details", "prev_digest")
        digest = json_digest({name: getattr(row, name) for name in names})
        if (row.number, row.prev_digest, row.digest) != (number, previous, digest):
            raise VerificationError(f"The audit trail is broken at event {number}.")
        previous = digest
