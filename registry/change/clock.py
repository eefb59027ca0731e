"""The time that changes are dated with, and whether this host's clock can be believed.

An event is never older than the one before, so that one host whose clock is ahead would date the
whole registry ahead until that time has come. So nothing is written while the host's clock and the
trail, or the host's and the PostgreSQL server's, are too far apart, unless a person says that it is
to go on. On SQLite there is no other clock to ask: one that is ahead is noticed afterwards, when a
clock that is right looks behind.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.errors import PolicyError
from concepts.instant import now, parse_instant
from registry.store.models import AuditEventRow

ACCEPT = "UVR_ACCEPT_CLOCK"
APART = timedelta(minutes=10)  # Hosts that keep time at all are nearer, and expiries are coarser.


@dataclass(frozen=True)
class Times:
    """What a change reckons with.

    Attributes:
        present: This host's time, which tells what has expired.
        at: What the change is dated with: the present, and never earlier than the last event.
    """

    present: str
    at: str


def read_times(session: Session) -> Times:
    """Return the times of a change.

    Raises:
        PolicyError: If this host's clock cannot be believed, and nobody accepted it.
    """
    doubt = clock_doubt(session)
    if doubt is not None and os.environ.get(ACCEPT) != "1":
        raise PolicyError(f"{doubt} To go on all the same, set {ACCEPT}=1.")
    present = now()
    return Times(present, max(present, _last(session)))


def clock_doubt(session: Session) -> str | None:
    """Return why this host's clock cannot be believed, and what to do; None if it can."""
    here, last = now(), _last(session)
    if session.get_bind().dialect.name == "postgresql":
        server = parse_instant(str(session.scalar(select(func.clock_timestamp()))))
        if _apart(here, server) > APART:
            return (
                f"This host's clock says {here}, and the database server's {server}. Set the one "
                "that is wrong."
            )
    if last > here and _apart(here, last) > APART:
        return (
            f"This host's clock says {here}, but the last event is of {last}. Set this clock, if "
            "it is behind. If it is right, whoever wrote that event had a clock that was ahead, "
            "and what is written now is dated like that event until its time has come."
        )
    return None


def _apart(one: str, other: str) -> timedelta:
    return abs(datetime.fromisoformat(one) - datetime.fromisoformat(other))


def _last(session: Session) -> str:
    query = select(AuditEventRow.at).order_by(AuditEventRow.number.desc()).limit(1)
    return session.scalar(query) or ""
