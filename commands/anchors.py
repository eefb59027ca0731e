"""Commands on anchors: collect, search and group them, and say where they came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.options import (
    as_json,
    dry_run,
    model_option,
    reason_required,
    seed_option,
    steps_option,
    task_choice,
    version_argument,
    yes,
)
from commands.output import progress_bar, version_json
from commands.parameters import NUMBER, PATH, SLUG, Instant
from commands.reading import check_model
from commands.table import Table
from commands.text import plural
from concepts.errors import NotFoundError, UVRError

if TYPE_CHECKING:
    from registry.answers import LookedAt, VersionInfo
    from registry.registry import Registry
    from registry.versions.exemplars import Exemplar

TESTBED = "testbed"
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
    **source: Any,
) -> None:
    """Collect a concept's anchors and make a version of it, a draft.

    Without --images, the model draws the definition's prompts (text-to-image); for editing, the
    testbed brings labelled scenes of its own concepts, named testbed-...; it draws nothing else.
    Stopping half-way leaves the registry as it was; a concept that cannot be collected does not
    hold up the others. Pictures are never stored: with --origin and --legal-basis their hashes
    are, until `sources forget`.

    \b
    Examples:
      uvr-registry collect-anchors testbed-pistol testbed-bomb
      uvr-registry collect-anchors mickey-mouse --model black-forest-labs/FLUX.1-Kontext-dev \\
        --images art/ --benign other-art/ --origin "art archive 12" --legal-basis "licence 7"
    """
    exemplars = _exemplars(source, origin, legal_basis, retain_until)
    check_model(model)
    registry = app.open()
    definitions = [registry.concepts.get(slug).definition for slug in dict.fromkeys(slugs)]
    for folder in (source["images"], source["benign"]):
        if folder is not None and not folder.is_dir():
            raise NotFoundError(f"No folder of pictures at '{folder}'.")
    from uvr.anchors.collection import Source, collect_all

    collected = collect_all(
        definitions, Source(**source), model=model, tasks=tasks, prototypes=prototypes,
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
                exemplars=exemplars,
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
@click.option("--drafts", is_flag=True, help="Look at versions that are not approved, too.")
@seed_option
@as_json
@pass_app
def search(
    app: App,
    picture: Path,
    model: str,
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
    registry = app.open()
    _require_anchors(registry, model, task)
    # What follows loads torch.
    from registry.index.ranking import rank_hits
    from uvr.anchors.capture import capture_from_images
    from uvr.anchors.extract import anchor_space
    from uvr.pipelines import load_pipeline
    from uvr.sample import Sample

    pipe, profile = load_pipeline(model, task)
    features = capture_from_images(pipe, profile, [Sample(image, prompt=prompt)], seed=seed)[0]
    space = anchor_space(pipe, profile, features.shape[1])
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


@click.group()
def sources() -> None:
    """List and forget where anchors came from; pictures themselves are never stored."""


@sources.command("list")
@click.argument("slug", type=SLUG, required=False)
@click.option("--due", type=Instant(), metavar="WHEN", help="Only those to be forgotten by then.")
@as_json
@pass_app
def sources_list(app: App, slug: str | None, due: str | None) -> None:
    """List the pictures that anchors came from, by hash.

    \b
    Examples:
      uvr-registry sources list mickey-mouse
      uvr-registry sources list --due 30d --json
    """
    rows = [_source_json(item) for item in app.open().exemplars.list(slug, due)]
    columns = ("id", "versions", "origin", "legal_basis", "retain_until", "sha256")
    app.show(rows, [Table(columns, rows, "No sources.")])


@sources.command("forget")
@click.argument("sha256")
@reason_required
@yes
@dry_run
@as_json
@pass_app
def sources_forget(app: App, sha256: str, reason: str) -> None:
    """Forget a picture: remove its hash, origin and legal basis; versions stay as they are.

    `sources list --json` gives the whole hash.

    \b
    Example:
      uvr-registry sources forget 9f86d0…0a08 --reason "request of the owner" --yes
    """
    app.confirm("Forget every reference to this picture for good?")
    found = app.open().exemplars.forget(sha256, actor=app.actor, reason=reason)
    app.show({"forgotten": list(found)}, [f"Forgot {plural(len(found), 'reference')}."])


def _exemplars(
    source: Mapping[str, Any],
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
) -> list[Exemplar]:
    """References to the pictures of --images and --benign, where they are to be recorded."""
    if not (origin or legal_basis or retain_until):
        return []
    if not (origin and legal_basis and source["images"]):
        raise click.UsageError("--origin and --legal-basis go together, and with --images.")
    from registry.versions.exemplars import Exemplar

    folders = [source[name] for name in ("images", "benign") if source[name]]
    hashes = sorted({digest for folder in folders for digest in _picture_hashes(folder)})
    return [Exemplar(digest, origin, legal_basis, retain_until) for digest in hashes]


def _picture_hashes(folder: Path) -> list[str]:
    from concepts.digest import sha256
    from uvr.anchors.pictures import MASK, SUFFIXES

    if not folder.is_dir():
        raise NotFoundError(f"No folder of pictures at '{folder}'.")
    pictures = (path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    return [sha256(path.read_bytes()) for path in pictures if not path.stem.endswith(MASK)]


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


def _warn_of_overlaps(app: App, registry: Registry, slug: str, collected: Sequence[Any]) -> None:
    """Say which other concepts have a good part of these anchors already, or nearly."""
    for item in registry.index.overlaps(slug, collected):
        if item.share >= OVERLAP:
            app.warn(
                f"{item.share:.0%} of these anchors of {slug} lie within 0.05 of {item.slug} "
                f"version {item.version} ({item.state.replace('_', ' ')}): do both ban the same?"
            )


def _source_json(item: Any) -> dict[str, Any]:
    data = asdict(item)
    return {**data.pop("ref"), **data}
