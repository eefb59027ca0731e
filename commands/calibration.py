"""The command that fits a draft's scorers and thresholds anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.measured_words import advice_lines, measured_lines
from commands.options import as_json, dry_run, expect_digest, task_choice, version_argument
from commands.output import place_name, progress_bar, version_json
from commands.text import cell, version_name
from concepts.errors import NotFoundError, SameContentError

if TYPE_CHECKING:
    from concepts.scorer import Scorer
    from registry.answers import VersionInfo, VersionSpace
    from registry.registry import Registry

FLAGS = {
    "rate": "image_false_positive_rate",
    "patch_rate": "patch_false_positive_rate",
    "margin": "margin",
    "prototypes": "prototypes",
}
"""Options of the command, and the parameters of a definition that they stand in for."""


@click.command()
@version_argument
@click.option("--task", "tasks", multiple=True, type=task_choice, help="[default: all it has]")
@click.option(
    "--rate",
    type=click.FloatRange(0, 0.5, min_open=True),
    help="Share of pictures without the concept that may match at most.",
)
@click.option(
    "--patch-rate",
    type=click.FloatRange(0, 0.5),
    help="Share of their patches that may join a region.",
)
@click.option(
    "--margin",
    type=click.FloatRange(0, 0.99),
    help="Raise thresholds by this share of the way to the concept's usual score.",
)
@click.option(
    "--prototypes", type=click.IntRange(1, 64), help="Directions that stand for the anchors."
)
@expect_digest
@dry_run
@as_json
@pass_app
def calibrate(
    app: App,
    /,
    version: tuple[str, int | None],
    tasks: tuple[str, ...],
    expect_digest: str | None,
    **given: Any,
) -> None:
    """Fit a draft's scorers and thresholds anew, from the anchors that it has.

    Nothing is drawn or collected. What no option says is as the version's definition says, and
    else as it was. From n pictures without the concept a rate of 1 / (n + 1) can be promised and
    no smaller one. With --dry-run it tells what would come of it.

    \b
    Examples:
      uvr-registry calibrate testbed-pistol --rate 0.02 --dry-run
      uvr-registry calibrate testbed-pistol@2 --task t2i --margin 0.1
    """
    registry = app.open()
    draft = registry.versions.draft(*version, expect_digest=expect_digest)
    asked = {FLAGS[name]: value for name, value in given.items() if value is not None}
    scorers = _fit(registry, draft, tasks, asked)
    changed, refused = draft, None
    try:
        changed = registry.versions.calibrate(
            draft.slug, draft.number, actor=app.actor, scorers=scorers,
            expect_digest=draft.content_digest,
        )  # fmt: skip
    except SameContentError as error:
        if not app.dry_run:
            raise
        refused = str(error)  # what would come of it is told all the same
    pairs = [
        (before, _fitted(before, scorers[before.digest]))
        for before in draft.spaces
        if before.digest in scorers
    ]
    data = [{"before": asdict(before), "after": asdict(after)} for before, after in pairs]
    name = version_name(changed.slug, changed.number)
    lines = [f"{name} would be refused: {refused}" if refused else f"{name} is fitted anew"]
    lines += [line for pair in pairs for line in _change_lines(*pair)]
    app.show({**version_json(changed), "calibrated": data, "refused": refused}, lines)
    if not refused:
        app.hint(f"Next: uvr-registry submit {name}")


def _fitted(before: VersionSpace, scorer: Scorer) -> VersionSpace:
    """What a version holds of a space once it has another scorer."""
    from concepts.calibration import recorded_calibration

    calibration = recorded_calibration(scorer.metadata)
    return replace(
        before,
        rule=scorer.rule,
        seed_threshold=scorer.seed_threshold,
        grow_threshold=scorer.grow_threshold,
        calibration=None if calibration is None else calibration.to_dict(),
    )


def _fit(
    registry: Registry, draft: VersionInfo, tasks: tuple[str, ...], asked: Mapping[str, Any]
) -> dict[str, Scorer]:
    """New scorers by the digest of their space; those of other tasks stay as they are."""
    from uvr.anchors.calibration import fit_options, fit_scorer

    spaces = [item for item in draft.spaces if not tasks or item.space.task in tasks]
    if missing := set(tasks) - {item.space.task for item in spaces}:
        raise NotFoundError(
            f"Version {draft.number} of '{draft.slug}' has no {' and no '.join(sorted(missing))} "
            "anchors. Collect them: `uvr-registry collect-anchors`."
        )
    words = registry.versions.detail(draft.slug, draft.number).definition.parameters
    scorers = {}
    with progress_bar(f"Fit {version_name(draft.slug, draft.number)}") as progress:
        for done, item in enumerate(spaces):
            progress(done, len(spaces))
            where = (draft.slug, item.digest, draft.number)
            anchors, scorer = registry.versions.anchor_set(*where), registry.versions.scorer(*where)
            before = {"rule": scorer.rule, **scorer.metadata}
            options = fit_options(anchors, before, {**words, **asked})
            scorers[item.digest] = fit_scorer(anchors, **options)
            progress(done + 1, len(spaces))
    return scorers


def _change_lines(before: VersionSpace, after: VersionSpace) -> list[str]:
    """What became of one space's thresholds, and of what they reach."""
    moved = [
        f"{name.replace('_', ' ')} {cell(getattr(before, name))} -> {cell(getattr(after, name))}"
        for name in ("seed_threshold", "grow_threshold")
    ]
    return [
        f"{place_name(after)}: {', '.join(moved)}",
        *(f"  before: {line}" for line in measured_lines(before.calibration)),
        *(f"  now: {line}" for line in measured_lines(after.calibration)),
        *(f"  {line}" for line in advice_lines(after.calibration)),
    ]
