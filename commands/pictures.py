"""Commands that draw pictures and explain what was found in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from commands.app import App, pass_app
from commands.drawing import Drawing
from commands.options import (
    as_json,
    keys_option,
    model_option,
    profile_option,
    seed_option,
    steps_option,
)
from commands.parameters import FILE, NUMBER, OUT, OUT_FILE, PATH, SIDE
from commands.table import Table
from commands.text import modes_named
from concepts.words import RESIDUAL


def _picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that `generate` and `edit` share."""
    options = (
        model_option,
        profile_option,
        click.option("--bundle", "bundle_file", type=PATH, help="Regulate with this bundle."),
        keys_option,
        click.option(
            "--preset", help="How to regulate, such as 'paper'.  [default: the profile's own]"
        ),
        click.option("--strength", type=click.FloatRange(0, 1), help="How strongly, 0 to 1."),
        click.option("--out", type=OUT, default=Path("picture.png"), show_default=True),
        click.option(
            "--report", type=OUT, help="Where the report goes.  [default: OUT with .json]"
        ),
        click.option(
            "--check",
            "checks",
            type=click.Choice(["features", "testbed"]),
            multiple=True,
            help="Check the finished picture: by its features, by the testbed's output filter; "
            "repeat it.",
        ),
        click.option(
            "--on-residual",
            type=click.Choice(RESIDUAL),
            help="What happens to a picture that the check finds something in.  [default: flag]",
        ),
        click.option(
            "--log",
            "log_file",
            type=OUT_FILE,
            help="Append the decision to this decision log, with the features of what fired.",
        ),
        click.option("--heat-map", type=OUT, help="Also draw what matched, as a picture."),
        seed_option,
        steps_option,
        click.option("--height", type=SIDE, help="In pixels; a multiple of the model's patch."),
        click.option("--width", type=SIDE, help="In pixels; a multiple of the model's patch."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@click.argument("prompt")
@_picture_options
def generate(prompt: str, **options: Any) -> None:
    """Generate a picture, with or without a bundle.

    \b
    Examples:
      uvr-registry generate "a bomb in the middle on a pink background" --out stock.png
      uvr-registry generate "a bomb in the middle on a pink background" \\
        --bundle policy.uvr --out regulated.png --heat-map heat.png
      uvr-registry generate "a bomb in the middle on a pink background" \\
        --bundle policy.uvr --check features --on-residual retry-or-block
    """
    Drawing(**options).make("t2i", {"prompt": prompt})


@click.command()
@click.argument("picture", type=PATH)
@click.argument("instruction")
@_picture_options
def edit(picture: Path, instruction: str, **options: Any) -> None:
    """Edit a picture by an instruction, with or without a bundle.

    \b
    Example:
      uvr-registry edit stock.png "make the background gray" --bundle policy.uvr --out edited.png
    """
    from uvr.anchors.pictures import read_picture

    Drawing(**options).make("edit", {"prompt": instruction, "image": read_picture(picture)})


@click.command()
@click.argument("report", type=FILE)
@click.option("-k", "count", type=NUMBER, default=3, show_default=True)
@as_json
@pass_app
def attribute(app: App, report: Path, count: int) -> None:
    """Name the anchors that are nearest to what fired, from a report of `generate` or `edit`.

    \b
    Example:
      uvr-registry attribute picture.json
    """
    from registry.index.ranking import FiredFeature
    from uvr.report import RegulationReport

    found = RegulationReport.load(report)
    fired = [
        FiredFeature(picture, item.mode, item.slug, item.version, item.feature)
        for picture, item in found.fired_findings()
        if item.feature is not None
    ]
    rows = list(map(asdict, app.open().index.attribute(found.space, fired, count)))
    columns = ("picture", "slug", "version", "mode", "anchor", "score")
    app.show(rows, [Table(columns, modes_named(rows), "Nothing fired in this report.")])
