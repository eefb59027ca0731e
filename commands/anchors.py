"""Commands on anchors: search and group them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    model_option,
    seed_option,
    task_choice,
    version_argument,
)
from commands.parameters import NUMBER, PATH
from commands.table import Table


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
    hits = registry.index.search(anchor_space(pipe, profile), features, count)
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
