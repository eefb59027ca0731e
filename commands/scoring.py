"""The command that scores kept pictures by a version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from commands.app import App, pass_app
from commands.options import as_json, model_option, profile_option, progress_option, task_choice
from commands.output import progress_of
from commands.parameters import VERSION
from commands.reading import check_model, read_profile
from commands.text import version_name


@click.command("score")
@click.argument("version", type=VERSION, metavar="SLUG[@NUMBER]")
@model_option
@profile_option
@click.option("--task", "tasks", multiple=True, type=task_choice, help="Only this; repeat it.")
@click.option("--allow-cpu", is_flag=True, help="Run a full-size model without a GPU.")
@progress_option
@as_json
@pass_app
def score(
    app: App,
    /,
    version: tuple[str, int | None],
    model: str,
    profile_file: Path | None,
    tasks: tuple[str, ...],
    allow_cpu: bool,
    progress_form: str,
) -> None:
    """Score the kept pictures of a concept by a version: which it catches, and which not.

    Scores are kept in the registry's folder, in cache/, without the pictures; the console shows
    them. Pictures that the version was collected from flatter it: how many is told.

    \b
    Example:
      uvr-registry exemplars score red-kite@2 --model MODEL
    """
    check_model(model)
    profile, registry = read_profile(profile_file), app.open()
    from console.evidence.drawing import score_kept  # It loads torch.
    from console.evidence.given_pictures import verdicts_of
    from console.evidence.pictures import places_of
    from uvr.placement import require_gpu

    if not allow_cpu:
        require_gpu(model)
    detail = registry.versions.detail(*version)
    places = places_of(registry, detail, tasks=tasks)
    score_kept(registry, detail, places, model=model, profile=profile,
               progress=progress_of(progress_form))  # fmt: skip
    pictures = registry.exemplars.kept(detail.version.slug)
    lines, data = [], []
    for found in verdicts_of(registry, detail, pictures):
        wrong, missed = found.wrongly_caught(pictures), found.missed(pictures)
        where = f"{found.space.space.model} {found.space.space.task}"
        name = version_name(detail.version.slug, detail.version.number)
        lines.append(f"{name}, {where}: wrongly caught {_named(wrong)}; missed {_named(missed)}")
        if found.learned:
            lines[-1] += f" (collected from {found.learned} of them, which flatters it)"
        data.append({"place": where, "scores": found.scores, "wrongly_caught": wrong,
                     "missed": missed, "lacking": found.lacking,
                     "learned": found.learned})  # fmt: skip
    app.show(data, lines)


def _named(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "none"
