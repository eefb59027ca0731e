"""The chain of audit events, checked link by link in bounded memory.

Each event's digest covers its number, its content and the digest of the event before. Where a link
does not hold, the rows around it tell what was done: the digest of a moved event still fits its old
number, that of an edited one fits none, and what followed a removed event names a digest that no
row has any more.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from concepts.digest import json_digest
from concepts.errors import VerificationError
from registry.change.event import COVERED, FIRST, AuditEvent, read_event
from registry.store.models import AuditEventRow

BATCH = 1000  # Rows in memory at once.
COLUMNS = tuple(getattr(AuditEventRow, name) for name in (*COVERED, "digest"))


@dataclass(frozen=True)
class Head:
    """The newest event: its number, 0 without any, its digest and its time."""

    number: int = 0
    digest: str = FIRST
    at: str = ""


def check_chain(session: Session) -> Head:
    """Walk the whole chain and return its head.

    Raises:
        VerificationError: Names the first event that is wrong, and what was done to it.
    """
    head, wrong = Head(), None
    with closing(_rows(session)) as rows:
        for row in rows:
            if (row.number, row.prev_digest) != (head.number + 1, head.digest) or not _fits(row):
                wrong = row
                break
            head = Head(row.number, row.digest, row.at)
    if wrong is not None:
        raise VerificationError(f"The audit trail is broken: {_diagnose(session, head, wrong)}.")
    return head


def read_events(session: Session) -> Iterator[AuditEvent]:
    """Yield all events, oldest first, in bounded memory."""
    with closing(_rows(session)) as rows:
        yield from map(read_event, rows)


def event_digest(session: Session, number: int) -> str | None:
    """Return the digest of an event, None if there is no such event."""
    return session.scalar(select(AuditEventRow.digest).where(AuditEventRow.number == number))


def _rows(session: Session) -> Generator[Row[Any], None, None]:
    query = select(*COLUMNS).order_by(AuditEventRow.number)
    # Closed on an error too: PostgreSQL keeps a cursor open for it.
    with session.execute(query.execution_options(yield_per=BATCH)) as rows:
        yield from rows


def _fits(row: Row[Any], number: int | None = None) -> bool:
    """Whether the row's digest is that of its content, under its own or another number."""
    covered = {name: getattr(row, name) for name in COVERED}
    if number is not None:
        covered["number"] = number
    try:
        return bool(json_digest(covered) == row.digest)
    except ValueError:  # It holds what no event does, such as bytes.
        return False


def _diagnose(session: Session, good: Head, row: Row[Any]) -> str:
    """Say what was done to the trail; ``row`` is the first that does not follow ``good``."""
    expected = good.number + 1
    if row.number < expected:  # Numbers are unique: only one below the first can be.
        return f"event {row.number} was inserted: the first one has number 1"
    if row.number != expected:
        gone = row.number - expected
        which = f"event {expected}" if gone == 1 else f"events {expected} to {row.number - 1}"
        return f"{which} {'was' if gone == 1 else 'were'} removed"
    holder = _holder(session, row.prev_digest)
    if holder is not None and holder > expected:
        return f"event {expected} was reordered: it came after another one once"
    if holder is not None and holder < good.number:
        return f"event {good.number} was inserted"
    following = session.execute(
        select(*COLUMNS).where(AuditEventRow.number == expected + 1)
    ).first()
    if following is not None and following.prev_digest == good.digest:
        # What came after the good event once still names it, one place later.
        return f"event {expected} was inserted"
    if row.prev_digest == good.digest:
        return f"event {expected} was edited"
    if _fits(row):
        # The row is whole and names a digest that its predecessor had before it was changed.
        return f"event {good.number or expected} was edited"
    if any(_fits(row, number) for number in _other_numbers(session, expected)):
        return f"event {expected} was removed, and those after it were renumbered"
    return f"event {expected} was edited"


def _holder(session: Session, digest: str) -> int | None:
    """Return the number of the event that has a digest; 0 for what the first one names."""
    if digest == FIRST:
        return 0
    return session.scalar(select(AuditEventRow.number).where(AuditEventRow.digest == digest))


def _other_numbers(session: Session, number: int) -> Iterator[int]:
    # A trail that lost events has fewer rows now than its old numbers went up to.
    last = session.scalar(select(func.max(AuditEventRow.number))) or number
    yield from range(number + 1, 2 * last + 2)
