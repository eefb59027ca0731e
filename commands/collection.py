"""The command that collects anchors, and what it says of those that were there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.app import App, pass_app
from commands.capturing import Means, capturing_options, feature_folder, plan
from commands.exemplars import references_to
from commands.measured import advice_lines, measured_lines
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
from commands.output import progress_of, version_json
from commands.parameters import PATH, SLUG, Instant
from commands.reading import check_model, read_profile
from commands.text import version_name
from concepts.errors import NotFoundError, UVRError
from concepts.words import VARIANTS

if TYPE_CHECKING:
    from concepts.anchors import AnchorSet
    from registry.answers import ConceptDetail, VersionInfo, VersionSpace
    from registry.registry import Registry
    from registry.versions.exemplars import Exemplar
    from uvr.profiles import ModelProfile

OVERLAP = 0.05  # the share of near anchors from which two concepts are worth a word


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
    it was; a concept that cannot be collected does not hold up the others. Pictures are never
    stored: with --origin and --legal-basis their hashes are, until `exemplars forget`.

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
      uvr-registry collect-anchors knife --model black-forest-labs/FLUX.1-dev --plan
    """
    if variants:
        if pictures["images"] is None:
            raise click.UsageError("--variants goes with --images.")
        if "none" in variants and set(variants) != {"none"}:
            raise click.UsageError("--variants none goes with no other kind.")
        pictures["variants"] = tuple(kind for kind in VARIANTS if kind in variants)
    references = references_to(pictures, origin, legal_basis, retain_until)
    means.check()
    check_model(model)
    profile = read_profile(profile_file)
    registry = app.open()
    found = [registry.concepts.get(slug) for slug in dict.fromkeys(slugs)]
    definitions = [concept.definition for concept in found]
    for folder in (pictures["images"], pictures["benign"]):
        if folder is not None and not folder.is_dir():
            raise NotFoundError(f"No folder of pictures at '{folder}'.")
    from uvr.anchors.collection import collect_all
    from uvr.anchors.exemplars import Exemplars

    exemplars = Exemplars(**pictures)
    model_options: dict[str, Any] = {"model": model, "tasks": tasks, "profile": profile,
                     "placement": means.placement(model)}  # fmt: skip
    features = feature_folder(registry.workspace.home)
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
    versions: dict[str, VersionInfo] = {}
    refused: list[UVRError] = []
    for definition in definitions:
        slug, outcome = definition.slug, collected[definition.slug]
        if outcome.problem is not None and outcome.failed:
            refused.append(outcome.problem)
            continue
        if outcome.problem is not None:
            app.warn(f"{slug} has no new anchors for one of the tasks. {outcome.problem}")
        for sentence in outcome.doubts:
            app.warn(f"{slug}: {sentence}")
        try:
            _warn_of_overlaps(app, registry, slug, outcome.collections)
            known = _references_of(registry, before[slug], outcome.collections) if add else []
            versions[slug] = registry.versions.add(
                slug, outcome.collections, actor=app.actor, definition_digest=definition.digest,
                exemplars=[*references, *known],
            )  # fmt: skip
            if not app.dry_run:
                features.discard(outcome.features)
        except UVRError as error:
            refused.append(error)
    if versions:
        lines, data = [], {}
        for slug, version in versions.items():
            lines += _collected_lines(version, before[slug], collected[slug].collections, add)
            data[slug] = {**version_json(version), "warnings": collected[slug].doubts}
        app.show(data, lines)
        app.hint(f"Next: uvr-registry submit {next(iter(versions))}, or release at once.")
    if refused:
        raise type(refused[0])(" ".join(map(str, refused)))


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


def _same_place(version: VersionInfo | None, model: str, task: str) -> VersionSpace | None:
    """What a version holds of a model and task; anchors of any one space take its place."""
    spaces = version.spaces if version is not None else ()
    return next((s for s in spaces if (s.space.model, s.space.task) == (model, task)), None)


def _ask_to_replace(
    app: App, before: Mapping[str, VersionInfo | None], profiles: Sequence[ModelProfile]
) -> None:
    """Ask, where a version has anchors whose place the new ones would take."""
    replaced = [
        f"the {held.anchors:,} {profile.task} anchors of {version_name(slug, found.number)}"
        for slug, found in before.items()
        for profile in profiles
        if found is not None and (held := _same_place(found, profile.model, profile.task))
    ]
    if replaced:
        app.confirm(
            f"The next version will have new anchors in place of {', '.join(replaced)}. Go on?",
            "--add to keep those too, or --yes",
        )


def _references_of(
    registry: Registry, version: VersionInfo | None, collections: Sequence[Any]
) -> list[Exemplar]:
    """References to the pictures behind the anchors that new ones were added to."""
    spaces = [anchors.space for anchors, _ in collections]
    held = [_same_place(version, space.model, space.task) for space in spaces]
    sets = {item.anchor_set for item in held if item is not None}
    if not sets or version is None:
        return []
    return [item.ref for item in registry.exemplars.list(version.slug) if item.anchor_set in sets]


def _collected_lines(
    version: VersionInfo, before: VersionInfo | None, collections: Sequence[Any], add: bool
) -> list[str]:
    """What a new version holds and finds, and what became of the anchors that were there."""
    lines = [
        f"{version.slug} version {version.number}: {version.anchors} anchors, "
        f"{version.counter_anchors} counter-anchors"
    ]
    for anchors, _ in collections:
        space = anchors.space
        held = _same_place(before, space.model, space.task)
        if held is not None and before is not None:
            of, found = f"{held.anchors} of version {before.number}", len(anchors.anchors)
            added = f"{found - held.anchors} added to the {of}"
            lines.append(f"  {space.task}: {added if add else f'{found} in place of {of}'}")
        made = _same_place(version, space.model, space.task)
        if made is not None:
            told = [*measured_lines(made.calibration), *advice_lines(made.calibration)]
            lines += [f"  {space.task}: {line}" for line in told]
    return lines


def _warn_of_overlaps(app: App, registry: Registry, slug: str, collected: Sequence[Any]) -> None:
    """Say which other concepts have a good part of these anchors already, or nearly."""
    for item in registry.index.overlaps(slug, collected):
        if item.share >= OVERLAP:
            app.warn(
                f"{item.share:.0%} of these anchors of {slug} lie within 0.05 of {item.slug} "
                f"version {item.version} ({item.state.replace('_', ' ')}): is it the same concept?"
            )
