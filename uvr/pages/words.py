"""Words for people: what pages call states, modes, tasks and instants."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from concepts.words import MODE_WORDS

TASKS = {
    "t2i": "Pictures drawn from a text",
    "edit": "Edited pictures",
    "check": "Finished pictures that are checked",
}
STATES = {
    "draft": "draft",
    "in_review": "waiting for review",
    "approved": "approved",
    "deprecated": "out of use",
    "revoked": "withdrawn",
}
KINDS = {
    "must-catch": "must be caught",
    "look-alike": "look-alike, allowed",
    "benign": "ordinary, allowed",
}


def task_words(task: str) -> str:
    """What a task is, such as "Edited pictures"."""
    return TASKS[task]


def place_words(place: str) -> str:
    """Write a "MODEL TASK", or a "MODEL/TASK", such as "edited pictures (testbed)"."""
    model, _, task = place.replace("/", " ").rpartition(" ")
    words = task_words(task)
    return f"{words[:1].lower()}{words[1:]} ({model})"


def gap_words(why: str) -> str:
    """Write why a release leaves a concept uncovered, ``registry.answers.Gap``."""
    head, found, place = why.partition("no anchors for ")
    if found:
        return f"{head}nothing collected for {', '.join(map(place_words, place.split(', ')))}"
    return why.replace("no anchors", "nothing collected").replace("in review", STATES["in_review"])


def coverage_words(tasks: Iterable[str], lacks: Iterable[str]) -> str:
    """What a bundle covers, such as "pictures drawn from a text. Not: edited pictures."."""
    covered, left = (", ".join(map(task_words, some)).lower() for some in (tasks, lacks))
    return f"{covered}. Not: {left}." if left else f"{covered}."


def state_words(state: str) -> str:
    """Where a version stands, such as "waiting for review"."""
    return STATES[state]


def kind_words(kind: str) -> str:
    """What an example picture is there for."""
    return KINDS[kind]


def mode_words(mode: str, disabled_until: str | None, at: str) -> str:
    """What happens where a concept is found, such as "switched off until 3 December 2026"."""
    if mode == "enforce" and disabled_until is not None and disabled_until > at:
        return f"switched off until {day(disabled_until)}"
    return MODE_WORDS[mode]


def day(instant: str | None) -> str:
    """A day in words, "never" for None; instants are in UTC."""
    if instant is None:
        return "never"
    moment = datetime.fromisoformat(instant)
    return f"{moment.day} {moment:%B %Y}"


def moment(instant: str | None) -> str:
    """A day and a time in words, "-" for None."""
    return "-" if instant is None else f"{day(instant)}, {instant[11:16]} UTC"
