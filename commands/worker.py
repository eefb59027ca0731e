"""The command that does jobs, one after the other."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import time
from collections import Counter
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.job_kinds import check_arguments, outcome_words, words
from commands.job_process import LEASE, JobProcess
from commands.text import plural
from concepts.errors import BusyError, ConflictError, GateError, UVRError
from concepts.printable import printable

if TYPE_CHECKING:
    from registry.jobs import JobInfo, Jobs
    from registry.registry import Registry

WORDS_A_LEASE = 4
"""How often a worker tells its progress in the time of a lease."""


@click.command()
@click.option("--once", is_flag=True, help="Do what waits, and end.")
@click.option(
    "--poll",
    type=click.FloatRange(0.1, 3600),
    default=5.0,
    show_default=True,
    help="Seconds until it looks again when nothing waits.",
)
@click.option(
    "--lease",
    type=click.FloatRange(0.5, 3600),
    default=60.0,
    show_default=True,
    help="Seconds without a word after which its job is another worker's.",
)
@pass_app
def worker(app: App, once: bool, poll: float, lease: float) -> int:
    """Do jobs that were asked for, one after the other, each in the name of who asked.

    Start as many as the machine bears: one a GPU, each with CUDA_VISIBLE_DEVICES of its own. A
    worker that is stopped gives its job back; one that is killed lets its lease run out, and
    another goes on: a collection from the features that are kept, an evaluation from its pictures.
    Reports are in the registry's folder, under reports/. With --once the exit code is 1 where a job
    failed.

    \b
    Examples:
      uvr-registry worker
      uvr-registry worker --once
    """
    registry, ended = app.open(), Counter[str]()
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        while True:
            job = _claimed(registry.jobs, name, lease)
            if job is not None:
                ended[_do(registry, job, name, lease)] += 1
            elif once:
                return _told_all(ended)
            else:
                time.sleep(poll)
    finally:
        signal.signal(signal.SIGTERM, before)


def _told_all(ended: Counter[str]) -> int:
    """Say what was done; the exit code."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
    total = ended.total()
    click.echo(f"{plural(total, 'job')}: {states}." if total else "No job waits.", err=True)
    return 1 if ended["failed"] else 0


def _claimed(jobs: Jobs, name: str, lease: float) -> JobInfo | None:
    try:
        return jobs.claim(name, lease=lease)
    except BusyError:  # Others write: what waits is still there when it looks again.
        return None


def _do(registry: Registry, job: JobInfo, name: str, lease: float) -> str:
    """Do a job, and tell how it ended: its state, or "taken over"."""
    told = printable(" ".join((job.kind, *job.arguments)))
    click.echo(f"Job {job.id}: {told}", err=True)
    try:
        check_arguments(job.kind, job.arguments)
        ended = _run(registry, job, name, lease)
    except ConflictError as error:  # another worker has it
        click.echo(str(error), err=True)
        return "taken over"
    except Exception as error:  # One bad job must not end the worker of all others.
        why = str(error) if isinstance(error, UVRError) else f"{type(error).__name__}: {error}"
        ended = registry.jobs.fail(job.id, name, why)
    came = "; ".join(outcome_words(ended))
    how = "failed" if ended.state == "failed" else f"is {ended.state}"
    click.echo(printable(f"Job {job.id} {how}{f': {came}' if came else '.'}"), err=True)
    return ended.state


def _run(registry: Registry, job: JobInfo, name: str, lease: float) -> JobInfo:
    jobs, home = registry.jobs, registry.home.resolve()
    line = words(job.kind, job.arguments, home, job.id)
    environment = {"UVR_ACTOR": job.asked_by, LEASE: str(lease)}
    process = JobProcess(["--home", str(home), *line], environment)
    try:
        with closing(process):
            while process.wait(lease / WORDS_A_LEASE) is None:
                if not _told(jobs, job, name, process, lease):
                    process.stop()
            _told(jobs, job, name, process, lease)
        return _told_end(jobs, job, name, process, lease)
    except KeyboardInterrupt:
        with suppress(ConflictError):  # It was told already.
            if _is_done(job, process):  # What is done must not be done again.
                _told_end(jobs, job, name, process, lease)
            else:
                jobs.give_back(job.id, name)
        raise


def _told_end(jobs: Jobs, job: JobInfo, name: str, process: JobProcess, lease: float) -> JobInfo:
    """Tell how a job ended, until it is heard: what was done would be done again."""
    message = process.said.removeprefix("Error: ") or f"exit code {process.code}"
    while True:
        try:
            if _is_done(job, process):
                said = message if process.code else ""
                return jobs.finish(job.id, name, process.result(), said)
            if process.code != BusyError.exit_code:
                return jobs.fail(job.id, name, message)
            time.sleep(lease / WORDS_A_LEASE)  # Others are at it: whoever claims it tries again.
            return jobs.give_back(job.id, name)
        except BusyError:
            time.sleep(lease / WORDS_A_LEASE)


def _is_done(job: JobInfo, process: JobProcess) -> bool:
    """Whether it did what it was asked for: a measurement below its gate is one all the same."""
    measured = job.kind == "evaluate" and process.code == GateError.exit_code
    return process.code == 0 or measured


def _told(jobs: Jobs, job: JobInfo, name: str, process: JobProcess, lease: float) -> bool:
    """Tell how far a job is; whether to go on."""
    try:
        go_on = jobs.progress(job.id, name, process.done, process.total, process.step, lease=lease)
    except BusyError:  # the next word may come through before the lease ends
        return True
    process.renew()
    return go_on
