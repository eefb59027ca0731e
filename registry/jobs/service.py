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
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from concepts.errors import ConflictError, InputError, PolicyError
from concepts.words import JOB_KINDS
from registry.jobs.job import JobInfo, end, find_job, job_info
from registry.jobs.leases import MAX_TEXT, Leases
from registry.store.models import OPEN_JOBS, JobRow

MOST_OPEN = 20
"""Jobs of one actor that wait or run at one time."""


_NO_ARGUMENT = re.compile("[\0\ud800-\udfff]")


class SameJobError(ConflictError):
    """The same job waits or runs, under the number ``job``."""

    def __init__(self, job: int) -> None:
        super().__init__(f"Job {job} is the same and did not end yet: wait for it, or stop it.")
        self.job = job


class Jobs(Leases):
    """The queue of jobs of a registry: asked for here, done by workers (``Leases``)."""

    def add(self, kind: str, arguments: Sequence[str], *, actor: str) -> JobInfo:
        """Ask for a job.

        Whoever adds one checks first that the command takes these arguments; a worker checks again.

        Args:
            kind: One of ``JOB_KINDS``.
            arguments: Words of the command, without its name; never read by a shell.
            actor: A curator, in whose name it is done.

        Raises:
            InputError: There is no such kind, or the arguments are too long.
            SameJobError: The same job waits or runs.
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
            return job_info(row)

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
            return [job_info(row, results=results) for row in session.scalars(query)]

    def show(self, job: int) -> JobInfo:
        """Return a job; NotFoundError if there is none of this number."""
        with self._workspace.read() as session:
            return job_info(find_job(session, job))

    def cancel(self, job: int, *, actor: str) -> JobInfo:
        """Stop a job: at once if it waits, else at its worker's next word.

        Raises:
            NotFoundError: There is none of this number.
            ConflictError: It has ended.
            PolicyError: The actor asked for it and is no curator, or did not and is no admin.
        """
        with self._workspace.read() as session:  # Who asked for a job never changes.
            role = "curator" if find_job(session, job).asked_by == actor else "admin"
        with self._workspace.work(actor, role) as unit:
            row = find_job(unit.session, job)
            if row.state not in OPEN_JOBS:
                raise ConflictError(f"Job {job} is {row.state}: there is nothing to stop.")
            row.cancelled_by = actor
            if row.state == "waiting":
                end(row, "cancelled", unit.at)
            return job_info(row)


def close_open_jobs(session: Session, at: str) -> None:
    """End the jobs that a backup came with: whoever asked for them asked another registry."""
    for row in session.scalars(select(JobRow).where(JobRow.state.in_(OPEN_JOBS))):
        end(row, "cancelled", at, "The registry was restored from a backup.")
    session.flush()


def _check_open(session: Session, kind: str, arguments: str, actor: str) -> None:
    """Refuse a job that another worker would do at the same time, and very many of one actor."""
    query = select(JobRow.id).where(JobRow.state.in_(OPEN_JOBS))
    same = session.scalar(query.where(JobRow.kind == kind, JobRow.arguments == arguments).limit(1))
    if same is not None:
        raise SameJobError(same)
    count = len(session.scalars(query.where(JobRow.asked_by == actor).limit(MOST_OPEN)).all())
    if count == MOST_OPEN:
        raise PolicyError(
            f"'{actor}' has {count} jobs that wait or run, and may have no more: stop some."
        )
