"""Jobs: what actors asked for that takes long, and which worker does it.

1. ``add`` puts a job in the queue, under the actor who asked.
2. A worker ``claim``s the oldest one that waits, with a lease, and tells its ``progress``, which
   renews the lease.
3. A worker that dies tells nothing: its lease runs out and another claims the job again.
4. ``finish``, ``fail`` or ``cancel`` ends a job for good.

Jobs are no state of the registry and write no audit events. What a worker changes for a job it
changes by the same calls as a person, as the actor who asked, and that is audited.
"""

from __future__ import annotations

import builtins
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, defer

from concepts.errors import ConflictError, InputError, NotFoundError, PolicyError
from concepts.instant import later, now, parse_instant
from concepts.words import JOB_KINDS
from registry.change.workspace import Workspace
from registry.store.db import open_session
from registry.store.models import OPEN_JOBS, JobRow

LEASE_S = 60.0
"""How long a worker may say nothing before its job is another's."""
ATTEMPTS = 3
"""Workers that may die of a job before it is given up."""
MOST_OPEN = 20
"""Jobs of one actor that wait or run at one time."""
MAX_TEXT = 64 << 10
"""Longest arguments, and longest result that is kept, in characters."""


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


_NO_ARGUMENT = re.compile("[\0\ud800-\udfff]")


class Jobs:
    """The queue of jobs of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(self, kind: str, arguments: Sequence[str], *, actor: str) -> JobInfo:
        """Ask for a job.

        Whoever adds one checks first that the command takes these arguments; a worker checks again.

        Args:
            kind: One of ``JOB_KINDS``.
            arguments: Words of the command, without its name; never read by a shell.
            actor: A curator, in whose name it is done.

        Raises:
            InputError: There is no such kind, or the arguments are too long.
            ConflictError: The same job waits or runs.
            PolicyError: The actor is no curator, or has ``MOST_OPEN`` jobs that did not end.
        """
        if kind not in JOB_KINDS:
            raise InputError(f"No kind of job '{kind}'; there are {', '.join(JOB_KINDS)}.")
        if _NO_ARGUMENT.search("".join(arguments)):
            raise InputError("An argument has a NUL character, or half of another: none takes it.")
        text = json.dumps(list(arguments))
        if len(text) > MAX_TEXT:
            raise InputError(f"The arguments have {len(text):,} characters, allowed: {MAX_TEXT:,}.")
        with self._workspace.work(actor, "curator") as unit:
            _check_open(unit.session, kind, text, actor)
            row = JobRow(
                kind=kind, arguments=text, asked_at=unit.at, asked_by=actor, state="waiting",
                attempts=0, done=0, total=0, message="",
            )  # fmt: skip
            unit.session.add(row)
            unit.session.flush()
            return _info(row)

    def list(
        self, states: Sequence[str] = (), *, limit: int | None = None, results: bool = True
    ) -> builtins.list[JobInfo]:
        """Return jobs, the newest first.

        Args:
            states: Those that are wanted; none for all.
            limit: How many at most.
            results: Whether to read what came of them, which may be long.
        """
        query = select(JobRow).order_by(JobRow.id.desc()).limit(limit)
        if not results:
            query = query.options(defer(JobRow.result, raiseload=True))
        if states:
            query = query.where(JobRow.state.in_(states))
        with self._workspace.read() as session:
            return [_info(row, results=results) for row in session.scalars(query)]

    def show(self, job: int) -> JobInfo:
        """Return a job; NotFoundError if there is none of this number."""
        with self._workspace.read() as session:
            return _info(_row(session, job))

    def cancel(self, job: int, *, actor: str) -> JobInfo:
        """Stop a job: at once if it waits, else at its worker's next word.

        Raises:
            NotFoundError: There is none of this number.
            ConflictError: It has ended.
            PolicyError: The actor asked for it and is no curator, or did not and is no admin.
        """
        with self._workspace.read() as session:  # Who asked for a job never changes.
            role = "curator" if _row(session, job).asked_by == actor else "admin"
        with self._workspace.work(actor, role) as unit:
            row = _row(unit.session, job)
            if row.state not in OPEN_JOBS:
                raise ConflictError(f"Job {job} is {row.state}: there is nothing to stop.")
            row.cancelled_by = actor
            if row.state == "waiting":
                _end(row, "cancelled", unit.at)
            return _info(row)

    def claim(self, worker: str, *, lease: float = LEASE_S) -> JobInfo | None:
        """Take the oldest job that waits, or whose worker said nothing for too long.

        A job that was to be stopped ends here, and one of which several workers died.

        Args:
            worker: A name that no other worker has.
            lease: Seconds until the next word of the worker.

        Returns:
            The job, or None if there is nothing to do.
        """
        with self._workspace.read() as session:  # Waiting workers must not hold up writers.
            if session.scalars(_free(_present(session)).limit(1)).first() is None:
                return None
        with self._changing() as (session, present):
            for row in session.scalars(_free(present)):
                if row.cancelled_by is not None:
                    _end(row, "cancelled", present)
                elif row.attempts >= ATTEMPTS:
                    _end(row, "failed", present, f"{ATTEMPTS} workers died of it.")
                else:
                    row.state, row.worker, row.attempts = "running", worker, row.attempts + 1
                    row.leased_until = later(present, lease)
                    return _info(row)
        return None

    def progress(
        self, job: int, worker: str, done: int, total: int, message: str,
        *, lease: float = LEASE_S,
    ) -> bool:  # fmt: skip
        """Tell how far a job is, and keep it.

        Returns:
            Whether to go on: False once somebody asked to stop it.

        Raises:
            ConflictError: It is no longer this worker's.
        """
        with self._held(job, worker) as (row, present):
            row.done, row.total, row.message = done, total, message[:MAX_TEXT]
            row.leased_until = later(present, lease)
            return row.cancelled_by is None

    def finish(self, job: int, worker: str, result: Any = None) -> JobInfo:
        """End a job that is done; ConflictError if it is no longer this worker's."""
        text = json.dumps(result)
        with self._held(job, worker) as (row, present):
            row.result = text if len(text) <= MAX_TEXT else None
            return _end(row, "done", present, "")

    def fail(self, job: int, worker: str, message: str) -> JobInfo:
        """End a job that failed, or that was to be stopped; ConflictError as for ``finish``."""
        with self._held(job, worker) as (row, present):
            state = "failed" if row.cancelled_by is None else "cancelled"
            return _end(row, state, present, message[:MAX_TEXT])

    def give_back(self, job: int, worker: str) -> JobInfo:
        """Let another worker go on, as this one is stopped; ConflictError as for ``finish``."""
        with self._held(job, worker) as (row, present):
            if row.cancelled_by is not None:
                return _end(row, "cancelled", present)
            row.state, row.leased_until, row.attempts = "waiting", None, row.attempts - 1
            return _info(row)

    @contextmanager
    def _changing(self) -> Iterator[tuple[Session, str]]:
        """A session that holds the write lock, and the database's time."""
        with open_session(self._workspace.engine, write=True) as session:
            yield session, _present(session)

    @contextmanager
    def _held(self, job: int, worker: str) -> Iterator[tuple[JobRow, str]]:
        """The row of a job that is a worker's, and the time."""
        with self._changing() as (session, present):
            row = _row(session, job)
            if (row.state, row.worker) != ("running", worker):
                raise ConflictError(
                    f"Job {job} is no longer the worker's: it is {row.state}, with {row.worker}."
                )
            yield row, present


def close_open_jobs(session: Session, at: str) -> None:
    """End the jobs that a backup came with: whoever asked for them asked another registry."""
    for row in session.scalars(select(JobRow).where(JobRow.state.in_(OPEN_JOBS))):
        _end(row, "cancelled", at, "The registry was restored from a backup.")
    session.flush()


def _check_open(session: Session, kind: str, arguments: str, actor: str) -> None:
    """Refuse a job that another worker would do at the same time, and very many of one actor."""
    query = select(JobRow.id).where(JobRow.state.in_(OPEN_JOBS))
    same = session.scalar(query.where(JobRow.kind == kind, JobRow.arguments == arguments).limit(1))
    if same is not None:
        raise ConflictError(f"Job {same} is the same and did not end yet: wait for it, or stop it.")
    count = len(session.scalars(query.where(JobRow.asked_by == actor).limit(MOST_OPEN)).all())
    if count == MOST_OPEN:
        raise PolicyError(
            f"'{actor}' has {count} jobs that wait or run, and may have no more: stop some."
        )


def _free(present: str) -> Select[Any]:
    """The jobs that a worker may take, the oldest first."""
    abandoned = (JobRow.state == "running") & (JobRow.leased_until < present)
    return select(JobRow).where((JobRow.state == "waiting") | abandoned).order_by(JobRow.id)


def _present(session: Session) -> str:
    """The time of all workers: the server's where there is one, as their clocks may differ."""
    if session.get_bind().dialect.name == "postgresql":
        return parse_instant(str(session.scalar(select(func.clock_timestamp()))))
    return now()


def _row(session: Session, job: int) -> JobRow:
    row = session.get(JobRow, job)
    if row is None:
        raise NotFoundError(f"No job {job}. `uvr-registry jobs list` shows all.")
    return row


def _end(row: JobRow, state: str, at: str, message: str | None = None) -> JobInfo:
    row.state, row.ended_at, row.leased_until = state, at, None
    if message is not None:
        row.message = message
    return _info(row)


def _info(row: JobRow, *, results: bool = True) -> JobInfo:
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
