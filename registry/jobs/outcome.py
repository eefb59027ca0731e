"""What came of a job: what it made, recorded or wrote, as others may look it up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.jobs.job import JobInfo

REPORTS = "reports"
"""Folder of the registry's home that workers write pages and evaluations into."""


@dataclass(frozen=True)
class Outcome:
    """One thing that came of a job.

    Attributes:
        what: "version", "evaluation", "examples", "scores", "report" or "try".
        name: A version as "pistol@2", for scores of given pictures their concept, the file of a
            report in the registry's home, or the number of the job that tried.
    """

    what: str
    name: str


def outcomes_of(job: JobInfo) -> tuple[Outcome, ...]:
    """Return what came of a job; nothing unless it is done."""
    return tuple(_outcomes(job)) if job.state == "done" else ()


def warnings_of(job: JobInfo) -> tuple[str, ...]:
    """Return what a collection warned of, such as prompts that the model does not draw."""
    if job.kind != "collect-anchors" or not isinstance(job.result, Mapping):
        return ()
    told = [made.get("warnings") for made in job.result.values() if isinstance(made, Mapping)]
    return tuple(line for lines in told if isinstance(lines, list) for line in map(str, lines))


def _outcomes(job: JobInfo) -> Iterator[Outcome]:
    result = job.result if isinstance(job.result, Mapping) else {}
    match job.kind:
        case "collect-anchors":
            for made in result.values():
                yield from _version(made)
        case "calibrate":
            yield from _version(result)
        case "draw-examples":
            if {"slug", "version"} <= result.keys():
                yield Outcome("examples", f"{result['slug']}@{result['version']}")
            yield Outcome("report", f"{REPORTS}/job-{job.id}.html")
        case "score-exemplars":
            if job.arguments and not job.arguments[0].startswith("-"):
                yield Outcome("scores", job.arguments[0].partition("@")[0])
        case "evaluate":
            if name := _option(job.arguments, "--record"):
                yield Outcome("evaluation", name)
            yield Outcome("report", f"{REPORTS}/job-{job.id}/report.html")
        case "try":
            yield Outcome("try", str(job.id))


def _version(found: Any) -> Iterator[Outcome]:
    """The version that JSON tells of, if it does."""
    if isinstance(found, Mapping) and {"slug", "number"} <= found.keys():
        yield Outcome("version", f"{found['slug']}@{found['number']}")


def _option(words: Sequence[str], name: str) -> str:
    """The value of an option, as the words of a command give it."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == name:
            return following
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return ""
