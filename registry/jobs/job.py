"""A job as it is told: who asked for what, how far it is, how it ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.errors import NotFoundError
from concepts.instant import now, parse_instant
from registry.store.models import JobRow


@dataclass(frozen=True)
class JobInfo:
    """A job.

    Attributes:
        id: Its number.
        kind: One of ``concepts.words.JOB_KINDS``.
        arguments: Words of the command of that name.
        asked_at: When.
        asked_by: The actor who asked, in whose name it is done.
        state: One of ``concepts.words.JOB_STATES``.
        cancelled_by: Who asked to stop it; a running one stops at its worker's next word.
        attempts: How often a worker began it.
        worker: Who does it, or did it last.
        leased_until: Until when it is that worker's.
        done: Steps done, of ``total``.
        total: Steps in all, 0 while that is not known.
        message: What is done now, or why it failed.
        result: What came of it, JSON.
        ended_at: When.
    """

    id: int
    kind: str
    arguments: tuple[str, ...]
    asked_at: str
    asked_by: str
    state: str
    cancelled_by: str | None
    attempts: int
    worker: str | None
    leased_until: str | None
    done: int
    total: int
    message: str
    result: Any
    ended_at: str | None


def present_of(session: Session) -> str:
    """The time of all workers: the server's where there is one, as their clocks may differ."""
    if session.get_bind().dialect.name == "postgresql":
        return parse_instant(str(session.scalar(select(func.clock_timestamp()))))
    return now()


def find_job(session: Session, job: int) -> JobRow:
    """Return the row of a job; NotFoundError if there is none of this number."""
    row = session.get(JobRow, job)
    if row is None:
        raise NotFoundError(f"No job {job}. `uvr-registry jobs list` shows all.")
    return row


def end(row: JobRow, state: str, at: str, message: str | None = None) -> JobInfo:
    """End a job, and return it."""
    row.state, row.ended_at, row.leased_until = state, at, None
    if message is not None:
        row.message = message
    return job_info(row)


def job_info(row: JobRow, *, results: bool = True) -> JobInfo:
    """Return a job, with what came of it only where that is wanted."""
    return JobInfo(
        id=row.id,
        kind=row.kind,
        arguments=tuple(json.loads(row.arguments)),
        asked_at=row.asked_at,
        asked_by=row.asked_by,
        state=row.state,
        cancelled_by=row.cancelled_by,
        attempts=row.attempts,
        worker=row.worker,
        leased_until=row.leased_until,
        done=row.done,
        total=row.total,
        message=row.message,
        result=json.loads(row.result) if results and row.result is not None else None,
        ended_at=row.ended_at,
    )
