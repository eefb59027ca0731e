"""Commands that write reports: pages and numbers for policy teams and auditors."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.options import as_json, model_option, profile_option, task_choice
from commands.output import progress_bar
from commands.parameters import OUT_FILE, PATH, VERSION
from commands.reading import check_model, read_profile
from commands.text import plural, version_name
from concepts.files import write_file

if TYPE_CHECKING:
    from evidence.pictures import Pictured, Place
    from registry.answers import VersionDetail
    from registry.registry import Registry
    from uvr.profiles import ModelProfile


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
    "--seed", type=click.IntRange(0, 2**62),
    help="Of the pictures.  [default: one that the version did not learn from]",
)  # fmt: skip
@click.option("--images", type=PATH, help="Folder of pictures that show the concept.")
@click.option("--benign", type=PATH, help="Folder of pictures without it.")
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
    seed: int | None,
    images: Path | None,
    benign: Path | None,
) -> None:
    """Write a version's contact sheet: what it catches, misses and wrongly catches, in pictures.

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
    if out is None and not app.json:
        raise click.UsageError("Give --out FILE, or --json for the numbers.")
    check_model(model)
    given_profile = read_profile(profile_file)
    registry = app.open()
    from evidence.pictures import places_of
    from evidence.sheet import sheet_numbers, version_record

    record = version_record(registry, *version)
    places = places_of(registry, record.detail, tasks=tasks, before=record.before, seed=seed)
    with ExitStack() as stack:
        if images is not None and benign is not None:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="uvr-report-")))
            folders = {"images": images, "benign": benign, "scratch": scratch}
            pictures = _given(registry, record.detail, places, folders, model, given_profile)
        else:
            pictures = _drawn(registry, places, count, model, given_profile)
        if out is not None:
            from evidence.page import sheet_page

            write_file(out, sheet_page(record, pictures).encode())
        numbers = sheet_numbers(record, pictures)
    name = version_name(record.detail.version.slug, record.detail.version.number)
    app.show(numbers, [*_lines(name, pictures), *([f"Wrote {out}"] if out else [])])


def _drawn(
    registry: Registry,
    places: list[Place],
    count: int,
    model: str,
    profile: ModelProfile | None,
) -> list[Pictured]:
    """The pictures of some places, drawn where the cache lacks them."""
    from evidence.pictures import lacks, pictured

    home = registry.home
    lacking = [place for place in places if lacks(home, place, count)]
    notes: dict[str, str] = {}
    if lacking:
        from evidence.drawing import draw_lacking  # It loads torch.

        notes = draw_lacking(
            home, lacking, model=model, profile=profile, count=count, progress=progress_bar
        )
    return [pictured(home, one, count, notes.get(one.space.digest, "")) for one in places]


def _given(
    registry: Registry,
    detail: VersionDetail,
    places: list[Place],
    folders: dict[str, Path],
    model: str,
    profile: ModelProfile | None,
) -> list[Pictured]:
    from evidence.drawing import Folders, look_at_given

    return [
        look_at_given(
            registry, detail, place, Folders(**folders), model=model, profile=profile,
            progress=progress_bar,
        )
        for place in places
    ]  # fmt: skip


def _lines(name: str, pictures: list[Pictured]) -> list[str]:
    """What the page says first."""
    lines = []
    for item in pictures:
        where = f"{name} {item.place.task}"
        if item.examples is None:
            lines.append(f"{where}: {item.note}")
            continue
        rates = item.examples.rates()
        told = {
            "must-catch pictures caught": rates.must_catch,
            "look-alikes wrongly caught": rates.look_alikes,
            "ordinary pictures wrongly caught": rates.benign,
        }
        parts = [f"{share} {what}" for what, share in told.items() if share is not None]
        changed = item.changed
        if item.before is not None:
            parts.append(f"{plural(len(changed), 'picture')} decided otherwise than before")
        lines.append(f"{where}: {', '.join(parts)}")
    return lines
