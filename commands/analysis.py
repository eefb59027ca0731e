"""The command by which a model explains itself: where and when it tells a concept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import as_json, model_option, profile_option, seed_option, task_choice
from commands.output import progress_bar, save_picture
from commands.parameters import OUT_FOLDER, PATH
from commands.reading import check_model, read_definition, read_profile
from commands.table import Table
from concepts.errors import GateError
from concepts.files import check_writable, write_file

if TYPE_CHECKING:
    from uvr.anchors.analyse import Analysis

FILES = ("analysis.json", "heat-map.png", "profile.yaml")


@click.command()
@click.argument("definition")
@model_option
@profile_option
@click.option("--task", type=task_choice, help="[default: the model's own]")
@click.option("--name", help="What to call the model in the profile.  [default: its name]")
@click.option("--images", type=PATH, help="Folder of NAME.png with NAME.mask.png.")
@click.option("--benign", type=PATH, help="Folder of pictures without the concept.")
@click.option(
    "--levels",
    type=click.IntRange(2, 100),
    default=8,
    show_default=True,
    help="Noise levels to measure, spread over the schedule.",
)
@click.option(
    "--batch", type=click.IntRange(1, 64), default=4, show_default=True, help="Pictures in a pass."
)
@click.option("--out", type=OUT_FOLDER, default=Path("analysis"), show_default=True)
@seed_option
@as_json
@pass_app
def analyse(
    app: App,
    /,
    definition: str,
    model: str,
    profile_file: Path | None,
    task: str | None,
    name: str | None,
    levels: int,
    batch: int,
    out: Path,
    **pictures: Any,
) -> None:
    """Measure where and when a model tells a concept, and propose its profile.

    DEFINITION is a YAML file or the name of a shipped concept; no registry is needed. Pictures of
    it come from --images and --benign, the testbed's own scenes, or are drawn from its prompts.
    OUT gets analysis.json, heat-map.png and, where the concept is found, profile.yaml, which
    --profile takes. The exit code is 9 where nothing separates the concept from other things.

    \b
    Examples:
      uvr-registry analyse testbed-pistol --out analysis
      uvr-registry analyse knife.yaml --model my-flux/ --images art/ --benign other-art/
      uvr-registry collect-anchors knife --model my-flux/ --profile analysis/profile.yaml
    """
    check_model(model)
    given = read_profile(profile_file)
    concept = read_definition(definition)
    for file in FILES:
        check_writable(out / file)
    from uvr.anchors.analyse import analyse as measured
    from uvr.anchors.exemplars import Exemplars
    from uvr.anchors.heat_map import heat_map
    from uvr.anchors.labelled import labelled_pictures
    from uvr.pipelines import load_to_analyse

    pipe, profile = load_to_analyse(model, task, given, name)
    exemplars = Exemplars(**pictures)
    with progress_bar("Draw the prompts") as drawn:
        positives, benign = labelled_pictures(pipe, profile, concept, exemplars, drawn)
    with progress_bar("Measure") as progress:
        found = measured(
            pipe, profile, concept.slug, positives, benign,
            levels=levels, seed=exemplars.seed, batch_size=batch, progress=progress,
        )  # fmt: skip
    picture = heat_map(found)
    write_file(out / "analysis.json", (json.dumps(found.to_dict(), indent=1) + "\n").encode())
    save_picture(picture, out / "heat-map.png")
    written = list(FILES[:2])
    if found.separates:
        from uvr.profile_file import dump_profile

        text = dump_profile(found.proposal(profile), [found.verdict()])
        write_file(out / "profile.yaml", text.encode())
        written.append(FILES[2])
    app.show(found.to_dict(), [*_lines(found), f"Wrote {', '.join(written)} to {out}"])
    if not found.separates:
        raise GateError(f"{found.verdict()} No profile was written.")


def _lines(found: Analysis) -> list[str | Table]:
    """The best taps at each level, and the stages."""
    rows = [
        {"noise_level": cell.sigma, "found": cell.recall, "auc": cell.auc, "where": cell.where,
         "taps": list(cell.taps)}
        for cell in found.joined
    ]  # fmt: skip
    lines: list[str | Table] = [Table(("noise_level", "found", "auc", "where", "taps"), rows)]
    if found.separates:
        stages = found.stages
        lines += [
            f"known that it is there from noise level {stages.known:.2f}, where from "
            f"{stages.placed:.2f}; settled from {stages.settled:.2f}",
            found.verdict(),
        ]
    return lines
