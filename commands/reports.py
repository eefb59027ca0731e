"""Commands that write reports: pages and numbers for policy teams and auditors."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.changes import by_hand_lines
from commands.options import as_json, model_option, profile_option, progress_option, task_choice
from commands.output import progress_of
from commands.parameters import OUT_FILE, PATH, RELEASE, VERSION, Instant
from commands.reading import check_model, read_profile
from commands.sheets import draw_pictures, given_pictures, picture_lines
from commands.table import Table
from commands.text import cell, mode_words, plural, version_name
from concepts.files import write_file
from concepts.words import approved_words

if TYPE_CHECKING:
    from console.evidence.governance import Governance
    from console.evidence.pictures import Pictured
    from registry.answers import VersionDetail


class ByDefault(click.Group):
    """A group whose first word may be the argument of its default command."""

    default = "version"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Take what is no command for the default command's argument."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = [self.default, *args]
        return super().resolve_command(ctx, args)


out_option = click.option("--out", type=OUT_FILE, help="The page, one HTML file.")


@click.group(cls=ByDefault)
def report() -> None:
    """Write reports for people: contact sheets, releases, what was banned when.

    `report SLUG@NUMBER` is short for `report version SLUG@NUMBER`.

    \b
    Examples:
      uvr-registry report testbed-pistol@2 --out pistol.html
      uvr-registry report release policy --out policy.html
      uvr-registry report governance --at 2026-11-24
    """


@report.command("version")
@click.argument("version", type=VERSION, metavar="SLUG[@NUMBER]")
@out_option
@model_option
@profile_option
@click.option("--task", "tasks", multiple=True, type=task_choice, help="Only this; repeat it.")
@click.option(
    "--count", type=click.IntRange(1, 500), default=24, show_default=True,
    help="Example pictures of each kind, for each task.",
)  # fmt: skip
@click.option(
    "--learned", is_flag=True, help="Show the pictures that it learned from; they flatter it."
)
@click.option("--images", type=PATH, help="Folder of pictures that show the concept.")
@click.option("--benign", type=PATH, help="Folder of pictures without it.")
@progress_option
@as_json
@pass_app
def report_version(
    app: App,
    /,
    version: tuple[str, int | None],
    out: Path | None,
    model: str,
    profile_file: Path | None,
    tasks: tuple[str, ...],
    count: int,
    learned: bool,
    images: Path | None,
    benign: Path | None,
    progress_form: str,
) -> None:
    """Write a version's contact sheet: what it catches and misses, in pictures.

    One HTML file with everything in it, to be mailed, printed and kept: the words, example
    pictures with outlines, how strict it is, what changed since the version approved before, and
    who decided what. Pictures are drawn from the version's words, once; they are kept in the
    registry's folder, in cache/, which may be deleted. Pictures that anchors were collected from
    with --images were not stored: give them again to see them. They go into the page alone.

    \b
    Examples:
      uvr-registry report testbed-pistol@2 --out pistol.html
      uvr-registry report red-kite --images art/ --benign other-art/ --out red-kite.html
    """
    if (images is None) != (benign is None):
        raise click.UsageError("--images and --benign go together.")
    if learned and images is not None:
        raise click.UsageError("--learned draws pictures: leave --images out.")
    _require_output(app, out)
    check_model(model)
    given_profile = read_profile(profile_file)
    registry = app.open()
    from console.evidence.pictures import pictures_of, places_of
    from console.evidence.sheet import sheet_numbers, version_record

    record = version_record(registry, *version)
    places = places_of(registry, record.detail, tasks=tasks, before=record.before, learned=learned)
    with ExitStack() as stack:
        if images is not None and benign is not None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uvr-report-")))
            folders = {"images": images, "benign": benign, "scratch": scratch}
            pictures = given_pictures(
                registry, record.detail, places, folders, model, given_profile
            )
        else:
            progress = progress_of(progress_form)
            draw = partial(draw_pictures, registry, model, given_profile, count, progress=progress)
            pictures = pictures_of(registry.home, places, count, draw)
        if out is not None:
            from console.evidence.page import sheet_page

            write_file(out, sheet_page(record, pictures).encode())
        numbers = sheet_numbers(record, pictures)
    name = version_name(record.detail.version.slug, record.detail.version.number)
    app.show(numbers, [*picture_lines(name, pictures), *_written(out)])


@report.command("release")
@click.argument("release_name", metavar="BUNDLE[@SEQUENCE]", type=RELEASE)
@out_option
@model_option
@click.option(
    "--count", type=click.IntRange(1, 500), default=24, show_default=True,
    help="Example pictures of each kind, for each concept and task.",
)  # fmt: skip
@click.option("--kept", is_flag=True, help="Draw nothing: show the pictures that are there.")
@as_json
@pass_app
def report_release(
    app: App,
    release_name: tuple[str, int | None],
    out: Path | None,
    model: str,
    count: int,
    kept: bool,
) -> None:
    """Write a release's sheet: concepts, changes, gaps.

    The newest by default. Each concept is there with its mode, who approved it, and what it
    catches, misses and wrongly catches at the release's thresholds. Pictures that are lacking are
    drawn, unless --kept.

    \b
    Examples:
      uvr-registry report release policy --out policy.html
      uvr-registry report release policy@3 --kept --out policy-3.html
    """
    _require_output(app, out)
    check_model(model)
    registry = app.open()
    from console.evidence.pictures import pictures_of, places_of
    from console.evidence.release import release_page, release_sheet

    draw = None if kept else partial(draw_pictures, registry, model, None, count)

    def look(detail: VersionDetail) -> list[Pictured]:
        return pictures_of(registry.home, places_of(registry, detail), count, draw)

    sheet = release_sheet(registry, *release_name, look)
    if out is not None:
        write_file(out, release_page(sheet).encode())
    lines = [line for m in sheet.members for line in picture_lines(m.member.slug, m.pictures)]
    app.show(sheet.to_dict(), [*lines, *_written(out)])


@report.command("governance")
@click.option("--at", type=Instant(), metavar="WHEN", help="The time to look at.  [default: now]")
@out_option
@as_json
@pass_app
def report_governance(app: App, at: str | None, out: Path | None) -> None:
    """Say what was banned at a time, and on what ground.

    For each channel it names the release and its signatures, and for each concept its mode, its
    words, where the pictures behind it came from, who approved it, and what was measured by then.
    The audit trail is verified first: exit code 6 where it was changed.

    \b
    Examples:
      uvr-registry report governance --at 2026-11-24T10:00Z --out governance.html
      uvr-registry report governance --at 2026-11-24 --json
    """
    from concepts.instant import now
    from console.evidence.governance import governance, governance_page

    found = governance(app.open(), at or now())
    if out is not None:
        write_file(out, governance_page(found).encode())
    app.show(found.to_dict(), [*_governance_lines(found), *_written(out)])


def _governance_lines(found: Governance) -> list[str | Table]:
    """What was banned, a table for each channel."""
    lines: list[str | Table] = []
    columns = ("slug", "version", "mode", "approval", "approved_at", "ground", "evaluated")
    for channel in found.channels:
        signed = ", ".join(channel.signed_by) or "nobody"
        lines.append(
            f"{channel.channel}: {channel.bundle}@{channel.sequence}, since "
            f"{cell(channel.since)} by {channel.moved_by}, signed by {signed} "
            f"({channel.signatures_needed} needed){', expired' if channel.expired else ''}"
        )
        rows = [
            {
                **vars(item),
                "mode": mode_words(item.mode, item.disabled_until, found.at),
                "approval": approved_words(item.approval, item.approved_by),
                "ground": [f"{one.legal_basis} ({one.origin})" for one in item.grounds],
                "evaluated": [one.figures["suite"] for one in item.evaluations],
            }
            for item in channel.banned
        ]
        lines += [Table(columns, rows, "No concepts."), *by_hand_lines(channel.banned)]
    empty = [f"No channel pointed to anything at {cell(found.at)}."]
    trail = (
        f"Trail: {plural(found.verified, 'event')} verified, event {found.events} the newest then"
    )
    return [*(lines or empty), trail]


def _require_output(app: App, out: Path | None) -> None:
    if out is None and not app.json:
        raise click.UsageError("Give --out FILE, or --json for the numbers.")


def _written(out: Path | None) -> list[str]:
    return [] if out is None else [f"Wrote {out}"]
