"""Kinds of jobs: the command that does each, and what of it may be asked for.

A job is a list of words for one of a few commands. It is parsed where it is asked for and again
before it is done, never by a shell, and may set no option but those that are named here. It never
names a cluster that draws: a worker would run what that sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.calibration import calibrate
from commands.collection import collect_anchors
from commands.evaluation import evaluate
from commands.reports import report_version
from commands.scoring import score
from commands.trying import try_prompt
from concepts.errors import InputError

if TYPE_CHECKING:
    from registry.jobs import JobInfo


@dataclass(frozen=True)
class Kind:
    """A command that workers run.

    Attributes:
        name: Its words on the command line.
        command: The command.
        settable: Names of the parameters that a job may set.
        added: Words that the worker puts before the job's own.
        out: How the name of what it writes ends, where it has an ``--out``.
        folder: Where that is, in the registry's home.
    """

    name: tuple[str, ...]
    command: click.Command
    settable: frozenset[str]
    added: tuple[str, ...]
    out: str | None = None
    folder: str = "reports"


KINDS = {
    "collect-anchors": Kind(
        ("collect-anchors",),
        collect_anchors,
        frozenset(
            (
                "slugs", "model", "profile_file", "tasks", "images", "benign", "kept", "variants",
                "add", "origin", "legal_basis", "retain_until", "prototypes", "seed", "steps",
                "batch_size", "dtype", "offload", "allow_cpu",
            )
        ),
        ("--yes", "--json", "--progress", "json"),
    ),
    "calibrate": Kind(
        ("calibrate",),
        calibrate,
        frozenset(
            ("version", "tasks", "rate", "patch_rate", "margin", "prototypes", "expect_digest")
        ),
        ("--json",),
    ),
    "draw-examples": Kind(
        ("report", "version"),
        report_version,
        frozenset(("version", "model", "profile_file", "tasks", "count", "learned")),
        ("--json", "--progress", "json"),
        out=".html",
    ),
    "score-exemplars": Kind(
        ("exemplars", "score"),
        score,
        frozenset(("version", "model", "profile_file", "tasks", "allow_cpu")),
        ("--json", "--progress", "json"),
    ),
    "evaluate": Kind(
        ("evaluate",),
        evaluate,
        frozenset(
            (
                "suite", "bundle_file", "keys_file", "methods", "attacks", "count", "seed", "data",
                "model", "pictures", "record", "gate_file",
            )
        ),
        ("--json", "--progress", "json"),
        out="",
    ),
    "try": Kind(
        ("try",),
        try_prompt,
        frozenset(
            (
                "prompt", "release_name", "version", "picture", "checks", "model", "profile_file",
                "seed", "steps", "allow_cpu",
            )
        ),
        ("--json", "--progress", "json"),
        out="",
        folder="cache/tried",
    ),
}  # fmt: skip


OUTCOMES = {
    "version": "made {0}: `uvr-registry show {0}`",
    "examples": "drew the example pictures of {}",
    "scores": "scored the given pictures of {}",
    "evaluation": "recorded the evaluation of {}",
    "report": "wrote {} in the registry's folder",
    "try": "tried it: page /try/{0} of the console, folder cache/tried/job-{0}",
}
"""What comes of jobs, by ``registry.jobs.outcome.Outcome.what``."""


def check_arguments(kind: str, arguments: Sequence[str]) -> Mapping[str, Any]:
    """Check that a kind's command takes these words, and that a job may give them.

    Returns:
        What they say, by the name of its parameter.

    Raises:
        InputError: It takes others, or a job may not set one of them.
    """
    found = KINDS.get(kind)
    if found is None:
        raise InputError(f"No kind of job '{kind}'; there are {', '.join(KINDS)}.")
    try:
        given = _named(found.command, arguments)
        for name in sorted(given - found.settable):
            option = name.replace("_", "-")
            raise InputError(f"A job of {kind} may not set --{option}: the worker does.")
        if any("\0" in word for word in arguments):
            raise InputError("An argument holds a character of code 0, which no command takes.")
        with found.command.make_context(kind, list(arguments)) as context:
            said = {name: context.params[name] for name in sorted(given)}
    except click.exceptions.Exit as error:  # --help
        raise InputError(f"A job of {kind} takes no such option: {' '.join(arguments)}.") from error
    except click.ClickException as error:
        raise InputError(f"{kind}: {error.format_message()}") from error
    for path in _paths(said.values()):
        if not path.is_absolute():
            raise InputError(f"'{path}' is not the whole path: a worker may run in another folder.")
    return said


def words(kind: str, arguments: Sequence[str], home: Path, job: int) -> list[str]:
    """Words of the command line for a job.

    Args:
        kind: Its kind.
        arguments: What was asked for.
        home: The registry's folder.
        job: Its number, after which what it writes is named.
    """
    found = KINDS[kind]
    place = home / found.folder / f"job-{job}"
    out = () if found.out is None else ("--out", f"{place}{found.out}")
    return [*found.name, *found.added, *out, *arguments]


def outcome_words(job: JobInfo) -> list[str]:
    """Say what came of a job, a line for each thing, and what its worker said last."""
    from registry.jobs.outcome import outcomes_of

    came = [OUTCOMES[item.what].format(item.name) for item in outcomes_of(job)]
    return [*came, job.message] if job.message else came


def _named(command: click.Command, arguments: Sequence[str]) -> set[str]:
    """Names of the parameters that are given, before any value is looked at.

    Looking at one may read or make files, which a job that is refused must not.
    """
    context = click.Context(command)
    _, _, order = command.make_parser(context).parse_args(list(arguments))
    return {str(param.name) for param in order if param in command.params}


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, tuple):
            yield from _paths(value)
