"""What a job was asked for, in words; its command line is for whoever wants all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from registry.jobs import JobInfo
from uvr.pages.words import place_words

_FLAGS = frozenset(("add", "kept", "allow-cpu", "learned"))
_LONGEST = 80


def job_words(job: JobInfo) -> str:
    """Say what a job does, such as "Try 'a mushroom' under policy@3 on the testbed"."""
    texts, options = _parsed(job.arguments)
    first, model = " and ".join(texts), options.get("model", "testbed").rpartition("/")[2]
    match job.kind:
        case "collect-anchors":
            if "task" in options:
                model = place_words(f"{model} {options['task']}")
            given = " from the given pictures" if {"kept", "images"} & options.keys() else ""
            return f"Collect a version of {first}{given}: {model}"
        case "calibrate":
            return f"Fit {first} anew"
        case "draw-examples":
            return f"Draw example pictures of {first} on {_on(model)}"
        case "score-exemplars":
            return f"Score the given pictures by {first} on {_on(model)}"
        case "evaluate":
            what = options.get("record") or "what there is"
            return f"Measure {what} by {first}"
        case "try":
            return _tried(" ".join(texts), options, model)
    return " ".join((job.kind, *texts))


def command_line(job: JobInfo) -> str:
    """The words of a job as a command has them."""
    return " ".join((job.kind, *job.arguments))


def without_home(job: JobInfo, home: Path) -> JobInfo:
    """The job with files in the registry's folder by their names alone."""
    arguments = tuple(word.replace(f"{home}/", "") for word in job.arguments)
    return replace(job, arguments=arguments, message=job.message.replace(f"{home}/", ""))


def _tried(prompt: str, options: dict[str, str], model: str) -> str:
    by = options.get("release") or options.get("version")
    under = f" under {by}" if by else ""
    if not prompt:
        return f"Check a picture{under} on {_on(model)}"
    short = prompt if len(prompt) <= _LONGEST else f"{prompt[:_LONGEST].rstrip()} …"
    to = " to a given picture" if "picture" in options else ""
    return f"Try '{short}'{to}{under} on {_on(model)}"


def _on(model: str) -> str:
    return "the testbed" if model == "testbed" else model


def _parsed(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Texts and options of a command line, as ``--name=value``, ``--name value`` and flags."""
    texts: list[str] = []
    options: dict[str, str] = {}
    words = iter(arguments)
    for word in words:
        name, given, value = word.removeprefix("--").partition("=")
        if word == "--":
            texts += words
        elif not word.startswith("--"):
            texts.append(word)
        elif given or name in _FLAGS:
            options[name] = value
        else:
            options[name] = next(words, "")
    return texts, options
