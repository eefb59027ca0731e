"""Whose a job is: claimed by a worker for a time, told about, and ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError
from concepts.instant import later
from registry.change.workspace import Workspace
from registry.jobs.job import JobInfo, end, find_job, job_info, present_of
from registry.store.db import open_session
from registry.store.models import JobRow

LEASE_S = 60.0
"""How long a worker may say nothing before its job is another's."""
ATTEMPTS = 3
"""Workers that may die of a job before it is given up."""
MAX_TEXT = 64 << 10
"""Longest arguments, and longest result that is kept, in characters."""


class Leases:
    """What workers do with the jobs of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

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
            if session.scalars(_free(present_of(session)).limit(1)).first() is None:
                return None
        with self._changing() as (session, present):
            for row in session.scalars(_free(present)):
                if row.cancelled_by is not None:
                    end(row, "cancelled", present)
                elif row.attempts >= ATTEMPTS:
                    end(row, "failed", present, f"{ATTEMPTS} workers died of it.")
                else:
                    row.state, row.worker, row.attempts = "running", worker, row.attempts + 1
                    row.leased_until = later(present, lease)
                    return job_info(row)
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

    def finish(self, job: int, worker: str, result: Any = None, message: str = "") -> JobInfo:
        """End a job that is done; ConflictError if it is no longer this worker's.

        Args:
            job: Its number.
            worker: Whose it is.
            result: What came of it, as JSON; kept unless it is very long.
            message: What else is to be said of that.
        """
        text = json.dumps(result)
        with self._held(job, worker) as (row, present):
            row.result = text if len(text) <= MAX_TEXT else None
            return end(row, "done", present, message[:MAX_TEXT])

    def fail(self, job: int, worker: str, message: str) -> JobInfo:
        """End a job that failed, or that was to be stopped; ConflictError as for ``finish``."""
        with self._held(job, worker) as (row, present):
            state = "failed" if row.cancelled_by is None else "cancelled"
            return end(row, state, present, message[:MAX_TEXT])

    def give_back(self, job: int, worker: str) -> JobInfo:
        """Let another worker go on, as this one is stopped; ConflictError as for ``finish``."""
        with self._held(job, worker) as (row, present):
            if row.cancelled_by is not None:
                return end(row, "cancelled", present)
            row.state, row.leased_until, row.attempts = "waiting", None, row.attempts - 1
            return job_info(row)

    @contextmanager
    def _changing(self) -> Iterator[tuple[Session, str]]:
        """A session that holds the write lock, and the database's time."""
        with open_session(self._workspace.engine, write=True) as session:
            yield session, present_of(session)

    @contextmanager
    def _held(self, job: int, worker: str) -> Iterator[tuple[JobRow, str]]:
        """The row of a job that is a worker's, and the time."""
        with self._changing() as (session, present):
            row = find_job(session, job)
            if (row.state, row.worker) != ("running", worker):
                raise ConflictError(
                    f"Job {job} is no longer the worker's: it is {row.state}, with {row.worker}."
                )
            yield row, present


def _free(present: str) -> Select[Any]:
    """The jobs that a worker may take, the oldest first."""
    abandoned = (JobRow.state == "running") & (JobRow.leased_until < present)
    return select(JobRow).where((JobRow.state == "waiting") | abandoned).order_by(JobRow.id)
