"""Commands on anchors: search and group them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    model_option,
    profile_option,
    seed_option,
    task_choice,
    version_argument,
)
from commands.parameters import NUMBER, PATH
from commands.reading import check_model, read_profile
from commands.table import Table
from commands.text import plural
from concepts.errors import NotFoundError

if TYPE_CHECKING:
    from registry.answers import LookedAt
    from registry.registry import Registry

TESTBED = "testbed"


@click.command()
@click.argument("picture", type=PATH)
@model_option
@profile_option
@click.option("--task", type=task_choice, help="[default: the model's own]")
@click.option("--prompt", default="", help="The picture's caption, or an edit instruction.")
@click.option("-k", "count", type=NUMBER, default=10, show_default=True)
@click.option("--drafts", is_flag=True, help="Look at versions that are not approved, too.")
@seed_option
@as_json
@pass_app
def search(
    app: App,
    picture: Path,
    model: str,
    profile_file: Path | None,
    task: str | None,
    prompt: str,
    count: int,
    drafts: bool,
    seed: int,
) -> None:
    """Find the anchors and concepts nearest to a picture.

    This looks at the versions that are live in a channel and, of a concept that is live nowhere,
    at the newest approved one.

    \b
    Examples:
      uvr-registry search picture.png -k 5
      uvr-registry search picture.png --drafts
    """
    from uvr.anchors.pictures import read_picture

    image = read_picture(picture)
    check_model(model)
    given = read_profile(profile_file)
    registry = app.open()
    _require_anchors(registry, model, task)
    # What follows loads torch.
    from registry.index.ranking import rank_hits
    from uvr.anchors.capturing import capture_from_images
    from uvr.anchors.extract import anchor_space
    from uvr.pipelines import load_pipeline
    from uvr.sample import Sample

    pipe, profile = load_pipeline(model, task, given)
    features = capture_from_images(pipe, profile, [Sample(image, prompt=prompt)], seed=seed)[0]
    space = anchor_space(pipe, profile)
    versions = registry.index.looked_at(space, drafts=True)
    looked_at = versions if drafts else registry.index.looked_at(space)
    hits = registry.index.search(space, features, count, drafts=drafts)
    states = {(item.slug, item.version): item.state for item in looked_at}
    concepts, anchors = (
        [{**asdict(hit), "state": states[hit.slug, hit.version]} for hit in found]
        for found in rank_hits(hits, count)
    )
    result = {"looked_at": list(map(asdict, looked_at)), "concepts": concepts, "anchors": anchors}
    columns = ("slug", "version", "state", "anchor", "patch", "score")
    tables = ["Concepts", Table(columns, concepts), "Anchors", Table(columns, anchors)]
    app.show(result, [_looked_at(looked_at, len(versions)), *(tables if looked_at else ())])


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


def _require_anchors(registry: Registry, model: str, task: str | None) -> None:
    """Refuse a search that can find nothing, as far as that is known before the model is loaded."""
    spaces = [item.space for item in registry.index.spaces()]
    if model == TESTBED:
        spaces = [item for item in spaces if (item.model, item.task) == (model, task or "t2i")]
    if not spaces:
        what = f" for {task or 't2i'} on the testbed" if model == TESTBED else ""
        raise NotFoundError(
            f"No anchors{what} to search yet. Run `uvr-registry collect-anchors` first."
        )


def _looked_at(versions: Sequence[LookedAt], every: int) -> str:
    """Say which versions a search looked at, and how many drafts it left out."""
    counts = Counter(item.state.replace("_", " ") for item in versions)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    looked = (
        f"Looked at {plural(len(versions), 'version')}: {states}."
        if versions
        else ("Nothing is live or approved yet.")
    )
    left = every - len(versions)
    return f"{looked} {plural(left, 'draft')} left out (--drafts adds them)." if left else looked
