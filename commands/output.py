"""Print what several commands print."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App
from commands.measured_words import evaluation_lines, gate_lines, measured_lines
from commands.table import Table
from commands.text import cell, mode_words, plural, threshold_words, version_name
from concepts.files import write_file
from concepts.instant import now

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from registry.answers import LivePlace, VersionDetail, VersionInfo, VersionSpace
    from registry.change.workspace import Workspace

ProgressBar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
_DIGEST = re.compile("[0-9a-f]{64}")


def show_version(app: App, version: VersionInfo, *more: str) -> None:
    """Show a version's state and digest, and lines of more."""
    words = version.state.replace("_", " ")
    count = (
        f", {plural(version.approvals, 'approval')} so far" if version.state == "in_review" else ""
    )
    name = version_name(version.slug, version.number)
    line = f"{name} is {words}{count} ({version.content_digest})"
    app.show(version_json(version), [line, *more])


def version_json(version: VersionInfo) -> dict[str, Any]:
    """A version as JSON has it."""
    totals = {"anchors": version.anchors, "counter_anchors": version.counter_anchors}
    return {**asdict(version), **totals}


def version_lines(version: VersionInfo) -> list[str | Table]:
    """A version in full, a row for each anchor space."""
    rows = [{**asdict(item), **asdict(item.space)} for item in version.spaces]
    columns = ("model", "task", "anchors", "counter_anchors", "rule", "seed_threshold")
    return [
        f"{version_name(version.slug, version.number)} is {version.state.replace('_', ' ')}, "
        f"by {', '.join(version.authors)}",
        f"content {version.content_digest}",
        Table((*columns, "grow_threshold"), rows),
        *(
            f"{place_name(item)}: {line}"
            for item in version.spaces
            for line in measured_lines(item.calibration)
        ),
        *evaluation_lines(next((asdict(item) for item in version.evaluations), None)),
    ]


def place_name(item: VersionSpace) -> str:
    """Name what a version holds anchors of: a model and a task."""
    return f"{item.space.model} {item.space.task}"


def detail_json(detail: VersionDetail) -> dict[str, Any]:
    """A version in full as JSON has it."""
    live = [asdict(place) for place in detail.live]
    definition = detail.definition.to_dict()
    whole = {"definition": definition, "live": live, "gate": detail.gate}
    return {**version_json(detail.version), **whole}


def detail_lines(
    detail: VersionDetail, changes: Mapping[str, Any] | None = None
) -> list[str | Table]:
    """A version in full: scoring, definition, and where its concept is live.

    Args:
        detail: The version.
        changes: What differs from the version approved before, in place of the whole definition.
    """
    if changes is None:
        from concepts.definition import dump_definition

        title, text = "definition", dump_definition(detail.definition).splitlines()
    else:
        title, text = f"changes since version {changes['before']}", diff_lines(changes)
        if not changes["definition"]:
            text = ["definition: the same", *text]
    name, content, *scoring = version_lines(detail.version)
    nowhere = "live nowhere; a release regulates it unless told otherwise"
    return [
        name,
        content,
        f"{title}:",
        *(f"  {line}".rstrip() for line in text),
        *scoring,
        *gate_lines(detail.gate),
        *(live_lines(detail.live) or [nowhere]),
    ]


def live_lines(places: Sequence[LivePlace]) -> list[str]:
    """Where versions are live, a line for each channel."""
    at = now()
    return [
        f"live in '{place.channel}', by {place.bundle}@{place.sequence}: version "
        f"{place.version}, mode {mode_words(place.mode, place.disabled_until, at)}, "
        f"threshold {threshold_words(place.thresholds)}"
        for place in places
    ]


def show_fields(app: App, fields: Mapping[str, Any]) -> None:
    """Show names with their values, a line each."""
    app.show(fields, field_lines(fields))


def field_lines(fields: Mapping[str, Any]) -> list[str]:
    """Names with their values, a line each."""
    return [f"{name.replace('_', '-')}: {cell(value)}" for name, value in fields.items()]


def show_events(app: App, events: Sequence[Any]) -> None:
    """Show events of the trail."""
    rows = [asdict(event) for event in events]
    texts = [
        {**row, "subject": row["subject"].replace("#", "@"), "details": _told(row)} for row in rows
    ]
    columns = ("number", "at", "actor", "action", "subject", "details")
    app.show(rows, [Table(columns, texts, "No events.")])


def _told(row: Mapping[str, Any]) -> str:
    """What an event changed in words, and then the rest of what it says."""
    from uvr.pages.events import changed_words

    changed = changed_words(row["action"], row["details"])
    said = ("copied", "ids", "thresholds")
    if row["action"] == "channel.move":
        said = ("before", "bundle", "sequence")
    details = {k: v for k, v in row["details"].items() if not (changed and k in said)}
    return "; ".join(part for part in (changed, _details(details)) if part)


def _details(details: Mapping[str, Any]) -> str:
    """What an event says, the reasons first, digests shortened; JSON has all of it."""
    first = ("reason", "note")
    parts = []
    for name in sorted(details, key=lambda name: (name not in first, name)):
        value = details[name]
        if value in (None, "", [], False):
            continue
        text = json.dumps(value) if isinstance(value, dict) else cell(value)
        parts.append(f"{name}: {_DIGEST.sub(lambda match: match[0][:12], text)}")
    return "; ".join(parts)


def show_ready(app: App, workspace: Workspace) -> None:
    """Say where a registry is."""
    home, engine = workspace.home, workspace.engine
    where = engine.url.render_as_string(hide_password=True)
    inside = engine.dialect.name == "sqlite" and str(home) in where
    line = f"Registry ready at {home}" + ("" if inside else f", database {where}")
    app.show({"home": str(home), "database": where}, [line])


def save_bundle(released: Bundle, out: Path) -> str:
    """Write a bundle; return the line that says so."""
    from concepts.bundle import write_bundle

    data = write_bundle(released)
    write_file(out, data)
    return f"Wrote {out} ({len(data):,} bytes, digest {released.digest})"


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG, whole or not at all."""
    from uvr.pages.picture import png_bytes

    write_file(path, png_bytes(image))


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield what reports progress, as (done, total), in a bar on stderr."""
    with ExitStack() as stack:
        bars: list[Any] = []

        def update(done: int, total: int) -> None:
            if not bars:
                bar = click.progressbar(length=total, label=label, file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(done - bars[0].pos)

        yield update


@contextmanager
def progress_lines(label: str) -> Iterator[Callable[[int, int], None]]:
    """Yield the same, in a line of JSON on stderr each time."""
    start = time.monotonic()

    def update(done: int, total: int) -> None:
        seconds = round(time.monotonic() - start, 1)
        row = {"step": label, "done": done, "total": total, "seconds": seconds}
        click.echo(json.dumps(row), err=True)

    yield update


def progress_of(form: str) -> ProgressBar:
    """Return what makes progress known by a label: in bars, or "json" for lines."""
    return progress_lines if form == "json" else progress_bar


@contextmanager
def progress_steps(form: str = "bar") -> Iterator[Callable[[str, int, int], None]]:
    """Yield what reports progress, as (step, done, total), in a bar for each step on stderr.

    Args:
        form: "json" for lines of JSON in place of bars.
    """
    told = progress_of(form)
    with ExitStack() as stack:
        bars: dict[str, Callable[[int, int], None]] = {}

        def update(step: str, done: int, total: int) -> None:
            if step not in bars:
                stack.close()
                bars[step] = stack.enter_context(told(step.capitalize()))
            bars[step](done, total)

        yield update


@contextmanager
def silenced(name: str) -> Iterator[None]:
    """Turn a logger off for a while."""
    logger = logging.getLogger(name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def diff_lines(found: Mapping[str, Any]) -> list[str]:
    """The definition's changes as a unified diff would show them, then a block for each space."""
    lines = []
    for change in found["definition"]:
        lines.append(f"definition: {change['field']}")
        lines += [f"  - {item}" for item in change["removed"]]
        lines += [f"  + {item}" for item in change["added"]]
        lines += [f"  {line}" for line in change["lines"]]
        if not (change["removed"] or change["added"] or change["lines"]):
            lines += [f"  - {json.dumps(change['before'])}", f"  + {json.dumps(change['after'])}"]
    for space in found["spaces"]:
        lines.append(f"{space['model']} {space['task']}")
        for name in ("anchors", "counter_anchors"):
            counts = ", ".join(f"{number} {verb}" for verb, number in space[name].items())
            lines.append(f"  {name.replace('_', '-')}: {counts}")
        for name in ("rule", "seed_threshold", "grow_threshold"):
            before, after = ((space[side] or {}).get(name) for side in ("before", "after"))
            if before != after:
                lines.append(f"  {name.replace('_', ' ')}: {cell(before)} -> {cell(after)}")
        if space["strictness"] not in (None, "the same"):
            lines.append(f"  strictness: {space['strictness']}")
        measured = [(space[side] or {}).get("calibration") for side in ("before", "after")]
        if measured[0] != measured[1]:
            for side, stored in zip(("before", "after"), measured, strict=True):
                told = measured_lines(stored) if space[side] else []
                lines += [f"  {side}: {line}" for line in told]
        if space["shift"]:
            shift = ", ".join(f"{name} {cell(value)}" for name, value in space["shift"].items())
            lines.append(f"  distance to the nearest anchor before: {shift}")
    first, second = found["evaluations"]
    if (first and first["digest"]) != (second and second["digest"]):
        for when, measured in (("before", first), ("after", second)):
            head, *rest = evaluation_lines(measured)
            lines += [f"{when}: {head}", *rest]
    return lines or ["No difference."]
