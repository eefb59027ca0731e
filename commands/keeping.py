"""Commands on pictures that are kept on purpose: keep, mask, leave out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, dry_run, reason_required
from commands.parameters import FILE, NUMBER, SLUG, Instant
from commands.table import Table
from commands.text import plural
from concepts.files import read_bytes

if TYPE_CHECKING:
    from registry.versions.kept_exemplar import GivenPicture, KeptExemplar
    from uvr.anchors.coverage import Coverage

COLUMNS = ("id", "shows", "mask", "left_out", "origin", "legal_basis", "retain_until", "sha256")


@click.command("keep")
@click.argument("slug", type=SLUG)
@click.argument("pictures", nargs=-1, required=True, type=FILE, metavar="PICTURE...")
@click.option("--mask", type=FILE, help="Mask of a single picture.  [default: NAME.mask.png]")
@click.option("--benign", is_flag=True, help="They are without the concept.")
@click.option("--origin", required=True, help="Where they come from.")
@click.option("--legal-basis", required=True, help="Why they may be kept, such as a licence.")
@click.option(
    "--retain-until", required=True, type=Instant(), metavar="WHEN", help="When to delete them."
)
@dry_run
@as_json
@pass_app
def keep(
    app: App,
    /,
    slug: str,
    pictures: tuple[Path, ...],
    mask: Path | None,
    benign: bool,
    origin: str,
    legal_basis: str,
    retain_until: str,
) -> None:
    """Keep pictures for a concept, to collect from them with `collect-anchors --kept`.

    Their pixels are kept in the registry's folder, in exemplars/, which only its owner opens and
    no backup holds; never their metadata. A mask, white where the picture shows the concept, is
    NAME.mask.png beside it, or is painted in the console. `exemplars forget` deletes a picture, and
    `gc` those whose time is over. One that is kept already gets its ground anew.

    \b
    Examples:
      uvr-registry exemplars keep red-kite art/*.png --origin "archive 12" \\
        --legal-basis "licence 7" --retain-until 365d
      uvr-registry exemplars keep red-kite other-art/*.png --benign --origin "archive 12" \\
        --legal-basis "licence 7" --retain-until 2030-01-31
    """
    from registry.versions.keeping import Ground

    given = _given(pictures, mask, benign)
    ground = Ground(origin, legal_basis, retain_until)
    found = app.open().exemplars.keep(slug, given, ground, actor=app.actor, benign=benign)
    verb = "Would keep" if app.dry_run else "Kept"
    app.show([_row(item) for item in found], [f"{verb} {plural(len(found), 'picture')} of {slug}"])
    app.hint(f"Next: uvr-registry collect-anchors {slug} --kept")


@click.command("kept")
@click.argument("slug", type=SLUG, required=False)
@as_json
@pass_app
def kept(app: App, slug: str | None) -> None:
    """List the pictures that are kept on purpose, and what those of a concept cover.

    \b
    Examples:
      uvr-registry exemplars kept
      uvr-registry exemplars kept red-kite --json
    """
    registry = app.open()
    rows = [_row(item) for item in registry.exemplars.kept(slug)]
    table = Table(COLUMNS, rows, "No pictures are kept.")
    if slug is None:
        app.show(rows, [table])
        return
    from console.evidence.given_pictures import given_set

    found = given_set(registry, slug)
    data = {"pictures": rows, "coverage": asdict(found.coverage), "repeats": found.repeats}
    app.show(data, [table, *_coverage_lines(found.coverage), *_repeat_lines(found.repeats)])


@click.command("mask")
@click.argument("number", type=NUMBER)
@click.argument("mask", type=FILE, required=False)
@click.option(
    "--box", nargs=4, type=click.FloatRange(0, 100), metavar="LEFT TOP WIDTH HEIGHT",
    help="A box instead, in percent of the picture.",
)  # fmt: skip
@click.option("--none", "without", is_flag=True, help="Take its mask away.")
@dry_run
@as_json
@pass_app
def mask_picture(
    app: App,
    number: int,
    mask: Path | None,
    box: tuple[float, float, float, float] | None,
    without: bool,
) -> None:
    """Say where a kept picture shows its concept: a picture of the same size, white there.

    \b
    Examples:
      uvr-registry exemplars mask 7 kite.mask.png
      uvr-registry exemplars mask 7 --box 10 20 40 40
    """
    if sum((mask is not None, bool(box), without)) != 1:
        raise click.UsageError("Give a MASK, --box or --none, one of the three.")
    from console.evidence.given_pictures import new_mask

    registry = app.open()
    data = None if mask is None else read_bytes(mask)
    made = None if without else new_mask(registry, number, data, box and [v / 100 for v in box])
    found = registry.exemplars.set_mask(number, made, actor=app.actor)
    verb = "has no mask any more" if without else "is masked"
    app.show(_row(found), [f"Picture {number} of {found.slug} {verb}"])


@click.command("exclude")
@click.argument("number", type=NUMBER)
@reason_required
@dry_run
@as_json
@pass_app
def exclude(app: App, number: int, reason: str) -> None:
    """Leave a kept picture out of the next collections; versions stay as they are.

    \b
    Example:
      uvr-registry exemplars exclude 7 --reason "shows a buzzard"
    """
    found = app.open().exemplars.exclude(number, actor=app.actor, reason=reason)
    app.show(_row(found), [f"Picture {number} of {found.slug} is left out"])


@click.command("include")
@click.argument("number", type=NUMBER)
@dry_run
@as_json
@pass_app
def include(app: App, number: int) -> None:
    """Collect from a kept picture again that was left out.

    \b
    Example:
      uvr-registry exemplars include 7
    """
    found = app.open().exemplars.include(number, actor=app.actor)
    app.show(_row(found), [f"Picture {number} of {found.slug} is collected from again"])


def _given(pictures: Sequence[Path], mask: Path | None, benign: bool) -> list[GivenPicture]:
    """Read pictures, and of those that show the concept their masks."""
    from console.evidence.given_pictures import given_picture
    from uvr.anchors.pictures import MASK

    named = [path for path in pictures if not path.stem.endswith(MASK)]
    if mask is not None and (len(named) != 1 or benign):
        raise click.UsageError("--mask goes with a single picture, and not with --benign.")
    given = []
    for path in named:
        beside = path.with_name(f"{path.stem}{MASK}.png")
        its = mask or (beside if beside.is_file() and not benign else None)
        data = None if its is None else read_bytes(its)
        given.append(given_picture(read_bytes(path), f"'{path}'", data))
    return given


def _row(item: KeptExemplar) -> dict[str, Any]:
    return {
        **asdict(item), "shows": not item.benign, "mask": item.mask is not None,
        "left_out": _left_out(item),
    }  # fmt: skip


def _left_out(item: KeptExemplar) -> str:
    """Why a picture is not collected from; "" where it is."""
    if item.excluded is not None:
        return item.excluded
    if item.expired:
        return "its time is over"
    return "" if item.there else "its file is not here"


def _coverage_lines(found: Coverage) -> list[str]:
    sizes = ", ".join(f"{count} {name}" for name, count in found.sizes.items() if count)
    lines = [f"Collected from: {found.shown} show it ({sizes or 'none'}), {found.benign} do not"]
    if found.shown and found.empty:
        lines.append(f"None shows it in: {', '.join(found.empty)}")
    return lines


def _repeat_lines(repeats: Sequence[tuple[int, ...]]) -> list[str]:
    return [f"Alike: {', '.join(map(str, group))}" for group in repeats]
