"""Commands on jobs: what was asked for that takes long."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.job_kinds import KINDS, check_arguments, outcome_words
from commands.job_subjects import check_subjects
from commands.options import as_json, dry_run
from commands.output import field_lines
from commands.parameters import LARGEST
from commands.table import Table
from concepts.words import JOB_STATES

if TYPE_CHECKING:
    from registry.jobs import JobInfo

_JOB = click.argument("job", type=click.IntRange(1, LARGEST))


@click.group()
def jobs() -> None:
    """Ask for what takes long, and see how far it is; `worker` does it.

    \b
    Examples:
      uvr-registry jobs add collect-anchors testbed-pistol --task t2i
      uvr-registry jobs list --state running
    """


@jobs.command(
    "add", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("kind", type=click.Choice(sorted(KINDS)), metavar="KIND")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[ARGUMENT]...")
@as_json
@pass_app
def jobs_add(app: App, kind: str, arguments: tuple[str, ...]) -> None:
    """Ask a worker to run a command, in your name: KIND says which, the rest are its arguments.

    Kinds are calibrate, collect-anchors, draw-examples (`report version`), evaluate,
    score-exemplars (`exemplars score`) and try.
    Files and folders are named by their whole path, since a worker may run elsewhere.

    \b
    Examples:
      uvr-registry jobs add collect-anchors testbed-pistol --task t2i
      uvr-registry jobs add evaluate testbed-quick --record testbed-pistol@2
    """
    said, registry = check_arguments(kind, arguments), app.open()
    check_subjects(registry, kind, said)
    added = registry.jobs.add(kind, arguments, actor=app.actor)
    app.show(asdict(added), [f"Job {added.id} waits for a worker"])
    app.hint(f"Next: uvr-registry worker; `jobs show {added.id}` tells how far it is.")


@jobs.command("list")
@click.option("--state", "states", multiple=True, type=click.Choice(JOB_STATES), help="Repeat it.")
@as_json
@pass_app
def jobs_list(app: App, states: tuple[str, ...]) -> None:
    """List jobs, the newest first.

    \b
    Example:
      uvr-registry jobs list --state waiting --state running
    """
    found = app.open().jobs.list(states)
    columns = ["id", "kind", "arguments", "state", "progress", "asked_by", "asked_at"]
    rows = [{**_row(job), "outcome": "; ".join(outcome_words(job))} for job in found]
    columns += ["outcome"] * any(row["outcome"] for row in rows)
    app.show([_json(job) for job in found], [Table(columns, rows, "No jobs.")])


@jobs.command("show")
@_JOB
@as_json
@pass_app
def jobs_show(app: App, job: int) -> None:
    """Show a job: who asked, how far it is, what came of it.

    \b
    Example:
      uvr-registry jobs show 3 --json
    """
    found = app.open().jobs.show(job)
    row = _row(found)
    del row["message"]  # It is among the words below.
    fields = {name: value for name, value in row.items() if value not in (None, "")}
    app.show(_json(found), [*field_lines(fields), *outcome_words(found)])


@jobs.command("cancel")
@_JOB
@dry_run
@as_json
@pass_app
def jobs_cancel(app: App, job: int) -> None:
    """Stop a job: at once if it waits, else within seconds. Another's needs an admin.

    \b
    Example:
      uvr-registry jobs cancel 3
    """
    found = app.open().jobs.cancel(job, actor=app.actor)
    stops = " and will stop" if found.state == "running" else ""
    app.show(_json(found), [f"Job {found.id} is {found.state}{stops}"])


def _json(job: JobInfo) -> dict[str, Any]:
    from registry.jobs.outcome import outcomes_of

    return {**asdict(job), "outcomes": [asdict(item) for item in outcomes_of(job)]}


def _row(job: JobInfo) -> dict[str, Any]:
    """A job as people read it."""
    row = asdict(job)
    del row["result"], row["leased_until"], row["done"], row["total"]
    progress = f"{job.done} of {job.total}" if job.total else ""
    return {**row, "arguments": " ".join(job.arguments), "progress": progress}
