"""Commands that draw pictures and explain what was found in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    keys_option,
    model_option,
    profile_option,
    seed_option,
    steps_option,
)
from commands.output import progress_bar, save_picture, silenced
from commands.parameters import FILE, NUMBER, OUT, OUT_FILE, PATH, SIDE
from commands.reading import check_model, read_bundle_file, read_key_list, read_profile
from commands.table import Table
from commands.text import modes_named
from concepts.files import check_writable, write_file
from concepts.instant import now
from concepts.printable import printable
from concepts.words import RESIDUAL

if TYPE_CHECKING:
    from uvr.engine.check import Check
    from uvr.report import ConceptFinding


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
            "--log", "log_file", type=OUT_FILE, help="Append the decision to this decision log."
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
    _draw("t2i", {"prompt": prompt}, **options)


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

    _draw("edit", {"prompt": instruction, "image": read_picture(picture)}, **options)


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


def _draw(
    task: str,
    request: dict[str, Any],
    *,
    model: str,
    profile_file: Path | None,
    bundle_file: Path | None,
    keys_file: Path | None,
    checks: tuple[str, ...],
    on_residual: str | None,
    preset: str | None,
    strength: float | None,
    out: Path,
    report: Path | None,
    heat_map: Path | None,
    log_file: Path | None,
    seed: int,
    steps: int | None,
    height: int | None,
    width: int | None,
) -> None:
    """Call a pipeline, regulated if there is a bundle, and write picture and report."""
    given_regulation = {"preset": preset, "strength": strength}
    regulation: dict[str, Any] = {
        name: value for name, value in given_regulation.items() if value is not None
    }
    if bundle_file is None and any((report, heat_map, log_file, keys_file, checks, regulation)):
        needing = "--report, --heat-map, --log, --keys, --check, --preset and --strength"
        raise click.UsageError(f"{needing} need --bundle.")
    if on_residual and not checks:
        raise click.UsageError("--on-residual says what to do with what --check finds; give both.")
    report = report or (out.with_suffix(".json") if bundle_file else None)
    places = [path for path in (out, report, heat_map) if path is not None]
    if len({path.absolute() for path in places}) < len(places):
        raise click.UsageError("--out, --report and --heat-map name one file twice.")
    for path in places:
        check_writable(path)
    # All of this before the slow imports.
    check_model(model)
    given_profile = read_profile(profile_file)
    if preset is not None:
        from uvr.method.presets import Regulation, find_preset

        find_preset(preset, task, Regulation())
    if model == "testbed":
        from uvr.testbed import SIDE_STEP

        _check_sides(SIDE_STEP, height, width)
    released = None
    if bundle_file is not None:
        released = read_bundle_file(bundle_file, read_key_list(keys_file), now())
    from uvr.decisions.log import DecisionLog
    from uvr.drawing import draw
    from uvr.pipelines import load_pipeline

    pipe, profile = load_pipeline(model, task, given_profile)
    if model != "testbed":
        _check_sides(2 * int(pipe.vae_scale_factor), height, width)
    given = {"num_inference_steps": steps, "height": height, "width": width}
    request |= {name: value for name, value in given.items() if value is not None}
    # What the regulator logs is among the notes.
    with ExitStack() as stack:
        stack.enter_context(silenced("uvr.regulator"))
        progress = stack.enter_context(progress_bar("Drawing"))
        listeners = [stack.enter_context(DecisionLog(log_file, features=True))] if log_file else []
        image, found = draw(
            pipe, profile, request, seed=seed, bundle=released, check=checks_named(checks),
            on_residual=on_residual or "flag", on_decision=listeners, progress=progress,
            **regulation,
        )  # fmt: skip
    save_picture(image, out)
    click.echo(f"Wrote {out}")
    if found is None:
        return
    if report is not None:
        write_file(report, found.to_json().encode())
        click.echo(f"Wrote {report}")
    if heat_map is not None:
        save_picture(found.overlay(image, 0), heat_map)
        click.echo(f"Wrote {heat_map}")
    click.echo("\n".join(_outcome(found.images[0] if found.images else [])))
    if checks:
        (verdict,) = found.verdicts
        click.echo(f"Verdict: {verdict.outcome}. {verdict.reason}")
    if found.extra_passes:
        click.echo(f"Transformer passes: {found.passes}, and {found.extra_passes} to regulate")
    for note in found.notes:
        click.echo(f"Warning: {printable(note)}", err=True)


def checks_named(names: Sequence[str]) -> list[Check]:
    """Return the checks that an option names."""
    from uvr.engine.check import FeatureCheck

    made: list[Check] = [FeatureCheck()] if "features" in names else []
    if "testbed" in names:
        from uvr.evaluation.output_filter import OutputFilterJudge

        made.append(OutputFilterJudge())
    return made


def _check_sides(step: int, height: int | None, width: int | None) -> None:
    """Refuse sizes that the model would quietly change."""
    for name, side in (("--height", height), ("--width", width)):
        if side is not None and side % step:
            raise click.UsageError(f"{name} is {side}, a multiple of {step} is expected.")


def _outcome(findings: Sequence[ConceptFinding]) -> list[str]:
    """What was found in a picture, in words; only what is enforced was regulated."""
    kinds = (("Found and regulated", True), ("Found and reported only", False))
    lines = []
    for label, enforced in kinds:
        slugs = [item.slug for item in findings if item.fired and item.enforced == enforced]
        if slugs:
            lines.append(f"{label}: {', '.join(slugs)}")
    return lines or ["Nothing banned was found."]
