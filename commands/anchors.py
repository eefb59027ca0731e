"""Commands on anchors: collect, search and group them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.exemplars import references_to
from commands.options import (
    as_json,
    dry_run,
    model_option,
    seed_option,
    steps_option,
    task_choice,
    version_argument,
)
from commands.output import progress_bar, version_json
from commands.parameters import NUMBER, PATH, SLUG, Instant
from commands.table import Table
from concepts.errors import UVRError

if TYPE_CHECKING:
    from registry.answers import VersionInfo
    from registry.registry import Registry

OVERLAP = 0.05  # the share of near anchors from which two concepts are worth a word


@click.command("collect-anchors")
@click.argument("slugs", nargs=-1, required=True, type=SLUG, metavar="SLUG...")
@model_option
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=task_choice,
    help="Repeat it for both.  [default: both on the testbed, else the model's own]",
)
@click.option("--images", type=PATH, help="Folder of NAME.png with NAME.mask.png.")
@click.option("--benign", type=PATH, help="Folder of pictures without the concept.")
@click.option("--origin", help="Where the pictures of --images and --benign come from.")
@click.option("--legal-basis", help="Why they may be used, such as a licence.")
@click.option("--retain-until", type=Instant(), metavar="WHEN", help="When to forget them.")
@click.option(
    "--prototypes",
    type=click.IntRange(1, 64),
    help="Directions that stand for the anchors.  [default: the definition's, or 1]",
)
@seed_option
@steps_option
@dry_run
@as_json
@pass_app
def collect_anchors(
    app: App,
    /,
    slugs: tuple[str, ...],
    model: str,
    tasks: tuple[str, ...],
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
    prototypes: int | None,
    **pictures: Any,
) -> None:
    """Collect a concept's anchors and make a version of it, a draft.

    Without --images, the model draws the definition's prompts (text-to-image); for editing, the
    testbed brings labelled scenes of its own concepts, named testbed-...; it draws nothing else.
    Stopping half-way leaves the registry as it was; a concept that cannot be collected does not
    hold up the others. Pictures are never stored: with --origin and --legal-basis their hashes
    are, until `exemplars forget`.

    \b
    Examples:
      uvr-registry collect-anchors testbed-pistol testbed-bomb
      uvr-registry collect-anchors mickey-mouse --model black-forest-labs/FLUX.1-Kontext-dev \\
        --images art/ --benign other-art/ --origin "art archive 12" --legal-basis "licence 7"
    """
    references = references_to(pictures, origin, legal_basis, retain_until)
    from uvr.anchors.collection import Exemplars, collect_all

    registry = app.open()
    definitions = [registry.concepts.get(slug).definition for slug in dict.fromkeys(slugs)]
    collected = collect_all(
        definitions, Exemplars(**pictures), model=model, tasks=tasks, prototypes=prototypes,
        progress=progress_bar,
    )  # fmt: skip
    versions: dict[str, VersionInfo] = {}
    refused: list[UVRError] = []
    for definition in definitions:
        slug, outcome = definition.slug, collected[definition.slug]
        if outcome.problem is not None and outcome.failed:
            refused.append(outcome.problem)
            continue
        if outcome.problem is not None:
            app.warn(f"{slug} has no new anchors for one of the tasks. {outcome.problem}")
        try:
            _warn_of_overlaps(app, registry, slug, outcome.collections)
            versions[slug] = registry.versions.add(
                slug, outcome.collections, actor=app.actor, definition_digest=definition.digest,
                exemplars=references,
            )  # fmt: skip
        except UVRError as error:
            refused.append(error)
    if versions:
        lines = [
            f"{slug} version {version.number}: {version.anchors} anchors, "
            f"{version.counter_anchors} counter-anchors"
            for slug, version in versions.items()
        ]
        app.show({slug: version_json(version) for slug, version in versions.items()}, lines)
        app.hint(f"Next: uvr-registry submit {next(iter(versions))}, or release at once.")
    if refused:
        raise type(refused[0])(" ".join(map(str, refused)))


@click.command()
@click.argument("picture", type=PATH)
@model_option
@click.option("--task", type=task_choice, help="[default: the model's own]")
@click.option("--prompt", default="", help="The picture's caption, or an edit instruction.")
@click.option("-k", "count", type=NUMBER, default=10, show_default=True)
@seed_option
@as_json
@pass_app
def search(
    app: App, picture: Path, model: str, task: str | None, prompt: str, count: int, seed: int
) -> None:
    """Find the anchors and concepts nearest to a picture.

    \b
    Example:
      uvr-registry search picture.png -k 5
    """
    from registry.index.ranking import rank_hits
    from uvr.anchors.capture import capture_from_images
    from uvr.anchors.extract import anchor_space
    from uvr.anchors.pictures import read_picture
    from uvr.pipelines import load_pipeline
    from uvr.sample import Sample

    registry, sample = app.open(), Sample(read_picture(picture), prompt=prompt)
    pipe, profile = load_pipeline(model, task)
    features = capture_from_images(pipe, profile, [sample], seed=seed)[0]
    hits = registry.index.search(anchor_space(pipe, profile, features.shape[1]), features, count)
    concepts, anchors = rank_hits(hits, count)
    result = {"concepts": list(map(asdict, concepts)), "anchors": list(map(asdict, anchors))}
    columns = ("slug", "version", "anchor", "patch", "score")
    near_concepts, near_anchors = (Table(columns, found) for found in result.values())
    app.show(result, ["Concepts", near_concepts, "Anchors", near_anchors])


@click.command()
@version_argument
@click.option("-k", "count", type=NUMBER, default=4, show_default=True)
@seed_option
@as_json
@pass_app
def prototypes(app: App, version: tuple[str, int | None], count: int, seed: int) -> None:
    """Group a version's anchors by k-means, to see how many looks a concept has.

    \b
    Example:
      uvr-registry prototypes testbed-pistol -k 3
    """
    from concepts.prototypes import WITHIN_SHARE
    from concepts.prototypes import prototypes as group

    slug, number = version
    registry = app.open()
    concept = registry.concepts.get(slug)
    chosen = concept.version(number)
    share = concept.definition.parameters.get("within_share", WITHIN_SHARE)
    rows = []
    for space in chosen.spaces:
        anchors = registry.versions.anchor_set(slug, space.digest, chosen.number)
        rows += [
            {
                "model": space.space.model, "task": space.space.task, "prototype": position,
                "anchors": len(item.rows), "share": len(item.rows) / len(anchors.anchors),
                "nearest": item.nearest,
            }
            for position, item in enumerate(group(anchors, count, within_share=share, seed=seed))
        ]  # fmt: skip
    app.show(rows, [Table(("model", "task", "prototype", "anchors", "share", "nearest"), rows)])


def _warn_of_overlaps(app: App, registry: Registry, slug: str, collected: Sequence[Any]) -> None:
    """Say which other concepts have a good part of these anchors already, or nearly."""
    for item in registry.index.overlaps(slug, collected):
        if item.share >= OVERLAP:
            app.warn(
                f"{item.share:.0%} of these anchors of {slug} lie within 0.05 of {item.slug} "
                f"version {item.version}: do both ban the same?"
            )
