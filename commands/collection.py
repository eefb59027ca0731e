"""The command that collects anchors, and what it says of those that were there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.capturing import Means, capturing_options, feature_folder, plan, warn_of_undrawn
from commands.exemplars import kept_to_collect, references_to, require_kept_alone
from commands.new_versions import NewVersions, same_place
from commands.options import (
    as_json,
    dry_run,
    model_option,
    profile_option,
    seed_option,
    steps_option,
    task_choice,
    yes,
)
from commands.output import progress_of
from commands.parameters import PATH, SLUG, Instant
from commands.reading import check_model, read_profile
from commands.text import version_name
from concepts.errors import NotFoundError
from concepts.words import VARIANTS

if TYPE_CHECKING:
    from concepts.anchors import AnchorSet
    from registry.answers import ConceptDetail, VersionInfo
    from registry.registry import Registry
    from uvr.profiles import ModelProfile


@click.command("collect-anchors")
@click.argument("slugs", nargs=-1, required=True, type=SLUG, metavar="SLUG...")
@model_option
@profile_option
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=task_choice,
    help="Repeat it for both.  [default: both on the testbed, else the model's own]",
)
@click.option("--images", type=PATH, help="Folder of NAME.png with NAME.mask.png.")
@click.option("--benign", type=PATH, help="Folder of pictures without the concept.")
@click.option(
    "--variants",
    multiple=True,
    type=click.Choice(["none", *VARIANTS]),
    help="Changed pictures to make of --images and collect from too; repeat it.  [default: none]",
)
@click.option("--kept", is_flag=True, help="Collect from the pictures that `exemplars keep` keeps.")
@click.option("--add", is_flag=True, help="Add to the anchors that are there; keep those.")
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
@capturing_options
@yes
@dry_run
@as_json
@pass_app
def collect_anchors(
    app: App,
    /,
    slugs: tuple[str, ...],
    model: str,
    profile_file: Path | None,
    tasks: tuple[str, ...],
    add: bool,
    origin: str | None,
    legal_basis: str | None,
    retain_until: str | None,
    prototypes: int | None,
    variants: tuple[str, ...],
    kept: bool,
    means: Means,
    **pictures: Any,
) -> None:
    """Collect a concept's anchors and make a version of it, a draft.

    Without --images, the model draws the definition's prompts (text-to-image); for editing, the
    testbed brings labelled scenes of its own concepts, named testbed-...
    With --variants, changed pictures are made of each one in --images and collected from too, and
    what is found is told for each kind of them.
    New anchors of a model and task take the place of those of the version before, which stays as
    it is: this asks first, unless --add keeps them too. Stopping half-way leaves the registry as
    it was; a concept that cannot be collected does not hold up the others. Pictures in --images are
    not stored: with --origin and --legal-basis their hashes are, until `exemplars forget`. With
    --kept, those that `exemplars keep` keeps are collected from, under their own ground.

    Features of what was drawn are kept in the registry's folder until the version is made: the
    same command goes on where it was stopped or killed. With --engine ray a cluster draws, the
    same to the bit where it has the same devices and versions. --plan tells pictures, disk, memory
    and time before.

    \b
    Examples:
      uvr-registry collect-anchors testbed-pistol testbed-bomb
      uvr-registry collect-anchors mickey-mouse --model black-forest-labs/FLUX.1-Kontext-dev \\
        --images art/ --benign other-art/ --origin "art archive 12" --legal-basis "licence 7"
      uvr-registry collect-anchors red-kite --images more/ --benign other-art/ --add
      uvr-registry collect-anchors red-kite --kept
      uvr-registry collect-anchors knife --model black-forest-labs/FLUX.1-dev --plan
    """
    if kept:
        require_kept_alone(slugs, (origin, legal_basis, retain_until), pictures)
    if variants:
        pictures["variants"] = _kinds(variants, given=kept or pictures["images"] is not None)
    references = references_to(pictures, origin, legal_basis, retain_until)
    means.check()
    check_model(model)
    profile = read_profile(profile_file)
    registry = app.open()
    found = [registry.concepts.get(slug) for slug in dict.fromkeys(slugs)]
    definitions = [concept.definition for concept in found]
    _check_folders(pictures["images"], pictures["benign"])
    from uvr.anchors.collection import collect_all
    from uvr.anchors.exemplars import Exemplars

    if kept:
        pictures["kept"], references = kept_to_collect(app, registry, slugs[0])
    exemplars = Exemplars(**pictures)
    model_options: dict[str, Any] = {"model": model, "tasks": tasks, "profile": profile,
                     "placement": means.placement(model)}  # fmt: skip
    features = feature_folder(registry.workspace.home)
    warn_of_undrawn(app, definitions, exemplars, model, tasks)
    if means.plan:
        plan(app, definitions, exemplars, means, features, model_options)
        return
    before = {concept.slug: _latest(concept) for concept in found}
    with _kept_where_stopped(), means.capturing(features, model) as capturing:
        collected = collect_all(
            definitions, exemplars, **model_options, prototypes=prototypes,
            held=_held(registry, before) if add else None,
            agree=None if add else partial(_ask_to_replace, app, before),
            progress=progress_of(means.progress_form),
            capturing=capturing,
        )  # fmt: skip
    new = NewVersions(app, registry, collected, before, add)
    versions, refused = new.add(definitions, references, features)
    if versions:
        new.show(versions)
        app.hint(f"Next: uvr-registry submit {next(iter(versions))}, or release at once.")
    if refused:
        raise type(refused[0])(" ".join(map(str, refused)))


def _kinds(asked: Sequence[str], *, given: bool) -> tuple[str, ...]:
    """The kinds of changed pictures that were asked for, in their usual order."""
    if not given:
        raise click.UsageError("--variants goes with --images or --kept.")
    if "none" in asked and set(asked) != {"none"}:
        raise click.UsageError("--variants none goes with no other kind.")
    return tuple(kind for kind in VARIANTS if kind in asked)


def _check_folders(*folders: Path | None) -> None:
    for folder in folders:
        if folder is not None and not folder.is_dir():
            raise NotFoundError(f"No folder of pictures at '{folder}'.")


@contextmanager
def _kept_where_stopped() -> Iterator[None]:
    """Say, on Ctrl-C, that the same command goes on from what was captured."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(err=True)  # A terminal shows ^C on the line that it is at.
        raise click.Abort("What was captured is kept: run it again to go on.") from None


def _latest(concept: ConceptDetail) -> VersionInfo | None:
    """The version that the next one goes on from: the newest that was not revoked."""
    left = [version for version in concept.versions if version.state != "revoked"]
    return left[-1] if left else None


def _held(
    registry: Registry, before: Mapping[str, VersionInfo | None]
) -> dict[str, list[AnchorSet]]:
    """The anchors of some versions, by slug."""
    return {
        slug: [registry.versions.anchor_set(slug, s.digest, found.number) for s in found.spaces]
        for slug, found in before.items()
        if found is not None
    }


def _ask_to_replace(
    app: App, before: Mapping[str, VersionInfo | None], profiles: Sequence[ModelProfile]
) -> None:
    """Ask, where a version has anchors whose place the new ones would take."""
    replaced = [
        f"the {held.anchors:,} {profile.task} anchors of {version_name(slug, found.number)}"
        for slug, found in before.items()
        for profile in profiles
        if found is not None and (held := same_place(found, profile.model, profile.task))
    ]
    if replaced:
        app.confirm(
            f"The next version will have new anchors in place of {', '.join(replaced)}. Go on?",
            "--add to keep those too, or --yes",
        )
