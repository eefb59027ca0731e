"""Commands on what engines decided: a picture in question, a check of one, hits over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, keys_option, model_option, profile_option
from commands.output import live_lines
from commands.parameters import FILE, NUMBER, PATH
from commands.reading import check_model, read_bundle_file, read_key_list, read_profile
from commands.table import Table
from commands.text import cell, mode_name, modes_named, plural, version_name
from concepts.errors import InputError
from concepts.instant import now
from concepts.words import MODES, approved_words

if TYPE_CHECKING:
    from PIL import Image

    from concepts.bundle import Bundle
    from registry.operations import Caught, Incident
    from uvr.checked_picture import CheckedPicture
    from uvr.decisions.reading import LoggedDecisions
    from uvr.profiles import ModelProfile

FOUND = 10
"""Exit code of `check` for a picture that shows what is banned."""


@click.command()
@click.argument("subject", metavar="REPORT|REQUEST|PICTURE")
@click.option("--log", "logs", type=FILE, multiple=True, help="Decision log; repeat it.")
@click.option("-k", "count", type=NUMBER, default=3, show_default=True, help="Examples shown.")
@model_option
@as_json
@pass_app
def incident(app: App, subject: str, logs: tuple[Path, ...], count: int, model: str) -> None:
    """Explain why a picture was caught: concept, release, channels, approvers, nearest examples.

    SUBJECT is a report of `generate` or `edit`, the name of a request in a decision log, or a
    picture. A picture is looked up in the log by its pixels; one that is not there, or without a
    log, is checked against what is live in the channels now, as `check` does.

    \b
    Examples:
      uvr-registry incident picture.json
      uvr-registry incident r-17 --log decisions.jsonl
      uvr-registry incident picture.png --log decisions.jsonl
    """
    check_model(model)
    from console.evidence.caught import caught_in
    from registry.operations import explain
    from uvr.decisions.reading import LoggedDecisions

    registry = app.open()
    log = LoggedDecisions(logs) if logs else None
    found = caught_in(registry, subject, log, partial(_checked, model=model))

    told: list[dict[str, Any]] = []
    lines: list[str | Table] = []
    for item in found:
        incidents = explain(registry.workspace, item.caught, count)
        for incident in incidents:
            others = _in_log(log, incident.caught) if log else None
            told.append({"where": item.where, **incident.to_dict(), "in_log": others})
            lines += [*_lines(item.where, incident, others), ""]
        if not incidents:
            lines += [f"Nothing banned was found in {item.where}.", ""]
    app.show(told, lines[:-1])
    for sentence in log.missing() if log else ():
        app.warn(f"{sentence}.")


@click.command()
@click.argument("picture", type=PATH)
@click.option("--bundle", "bundle_file", type=PATH, required=True, help="What to look for.")
@keys_option
@model_option
@profile_option
@click.option(
    "--check",
    "checks",
    type=click.Choice(["features", "testbed"]),
    multiple=True,
    help="By its features, by the testbed's output filter; repeat it.  [default: features]",
)
@as_json
@pass_app
def check(
    app: App,
    picture: Path,
    bundle_file: Path,
    keys_file: Path | None,
    model: str,
    profile_file: Path | None,
    checks: tuple[str, ...],
) -> int:
    """Check a finished picture, wherever it came from, as an engine checks those that it draws.

    Exit code 10 says that something was found that is regulated, 0 that nothing was. By features
    the bundle needs anchors for it: `collect-anchors SLUG --task check`.

    \b
    Example:
      uvr-registry check picture.png --bundle policy.uvr
    """
    from uvr.anchors.pictures import read_picture

    image = read_picture(picture)
    check_model(model)
    profile = read_profile(profile_file)
    released = read_bundle_file(bundle_file, read_key_list(keys_file), now())
    verdict = _checked(image, released, model, profile, checks or ("features",)).verdict
    columns = ("concept", "version", "stage", "mode", "score", "threshold", "area")
    data = verdict.to_dict()
    lines: list[str | Table] = [f"Verdict: {verdict.outcome}. {verdict.reason}"]
    lines += [Table(columns, modes_named(data["evidence"]))] if verdict.evidence else []
    app.show(data, lines)
    return FOUND if verdict.outcome == "flagged" else 0


@click.command()
@click.argument("logs", metavar="LOG...", type=FILE, nargs=-1, required=True)
@click.option(
    "--by",
    type=click.Choice(["day", "concept"]),
    multiple=True,
    help="Sum by this alone; repeat it.  [default: both]",
)
@as_json
@pass_app
def hits(app: App, logs: tuple[Path, ...], by: tuple[str, ...]) -> None:
    """Sum decision logs: in how many pictures each concept was found, and in which mode.

    A picture counts once for a concept. Full files beside a log are read too. It needs no registry.

    \b
    Examples:
      uvr-registry hits decisions.jsonl
      uvr-registry hits gpu-1.jsonl gpu-2.jsonl --by concept --json
    """
    from uvr.decisions.hits import count_hits
    from uvr.decisions.reading import LoggedDecisions

    parts = by or ("day", "concept")
    log = LoggedDecisions(logs)
    counted = count_hits(log, by_day="day" in parts, by_concept="concept" in parts)
    if log.unreadable and not (log.read or log.dropped):
        names = ", ".join(f"'{path}'" for path in logs)
        raise InputError(
            f"No line of {names} is a decision. Logs that `generate --log` or `DecisionLog` wrote "
            "are expected."
        )
    rows = [item.to_dict() for item in counted]
    columns = [*(part for part in ("day", "concept") if part in parts)]
    shown = [{**row, **{mode_name(mode): row[mode] for mode in MODES}} for row in rows]
    numbers = ("pictures", *map(mode_name, MODES), "of")
    app.show(rows, [Table([*columns, *numbers], shown, "Nothing was found in any picture.")])
    for sentence in log.missing():
        app.warn(f"{sentence}.")


def _checked(
    image: Image.Image,
    bundle: Bundle,
    model: str,
    profile: ModelProfile | None = None,
    checks: Sequence[str] = ("features",),
) -> CheckedPicture:
    """Check a picture with a model that is loaded for it; see ``uvr.checking``."""
    from commands.drawing import checks_named
    from uvr.checking import check_picture
    from uvr.pipelines import load_pipeline

    pipe, found = load_pipeline(model, None, profile)
    return check_picture(pipe, found, bundle, image, checks_named(checks))


def _in_log(log: LoggedDecisions, caught: Caught) -> dict[str, int]:
    """In how many pictures of the log the same version was found, and how many there are."""
    total = same = 0
    for decision in log:
        total += 1
        same += any(
            (item.concept, item.version) == (caught.slug, caught.version)
            for item in decision.verdict.evidence
        )
    return {"pictures": same, "of": total}


def _lines(where: str, found: Incident, in_log: dict[str, int] | None) -> list[str | Table]:
    """An incident in words."""
    caught, member, release = found.caught, found.member, found.release
    name = version_name(caught.slug, caught.version)
    lines: list[str | Table] = [
        f"{name} was found in {where}{f', at {cell(caught.at)}' if caught.at else ''}: score "
        f"{caught.score:.4g}, threshold {caught.threshold:.4g}, mode {mode_name(caught.mode)}"
    ]
    if release is None:
        lines.append(f"release: bundle {caught.bundle_digest[:12]} was not made by this registry")
    else:
        lines.append(
            f"release: {release.bundle}@{release.sequence}, made {cell(release.created_at)} "
            f"by {release.created_by}{f': {release.note}' if release.note else ''}"
        )
    if member is not None:
        by = approved_words(member.approval, member.approved_by)
        at = f", {cell(member.approved_at)}" if member.approved_at else ""
        lines.append(f"approval: {by}{at}; it is {member.state} now")
    then = [f"'{item.channel}' since {cell(item.since)}, by {item.moved_by}" for item in found.then]
    lines.append(f"live then: {', '.join(then) or 'in no channel that is known'}")
    lines += live_lines(found.now) or ["live now: in no channel"]
    if found.nearest:
        rows = [vars(item) for item in found.nearest]
        lines += ["nearest examples:", Table(("anchor", "score", "picture", "prompt"), rows)]
    if found.also is not None:
        also = [
            f"{item.slug} (score {item.score:.4g}, {mode_name(item.mode)})" for item in found.also
        ]
        lines.append(f"the same patch also matches: {', '.join(also) or 'nothing else'}")
    if in_log is not None:
        lines.append(
            f"in the log: this version was found in {plural(in_log['pictures'], 'picture')} of "
            f"{in_log['of']:,}"
        )
    return lines
