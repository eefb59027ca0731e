"""Draw the example pictures that a registry's cache lacks, look at given ones, or try something."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import Image

from concepts.bundle import Bundle
from concepts.errors import MismatchError, UVRError
from console.evidence.given_pictures import open_kept, wanted_of
from console.evidence.pictures import TESTBED, Pictured, Place, cache_of, read
from console.evidence.tried import About, Tried, heat_maps_of
from registry.answers import VersionDetail
from registry.registry import Registry
from registry.store.home import SCORED
from uvr.anchors.capture import Progress
from uvr.anchors.extract import anchor_space
from uvr.checking import check_picture
from uvr.drawing import draw
from uvr.engine.check import Check, FeatureCheck
from uvr.examples.bare_scores import ScoresAlone
from uvr.examples.drawing import draw_examples
from uvr.examples.given import file_digest, read_given
from uvr.examples.kept import Kept
from uvr.examples.wanted import USUAL_COUNT
from uvr.pipelines import load_pipeline
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport
from uvr.sample import Sample

ProgressBar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True)
class Folders:
    """Pictures that are given, as for collecting.

    Attributes:
        images: Those that show the concept.
        benign: Those that do not.
        scratch: A folder to work in, which nobody keeps.
    """

    images: Path
    benign: Path
    scratch: Path


def draw_lacking(
    home: Path,
    places: Sequence[Place],
    *,
    model: str = TESTBED,
    profile: ModelProfile | None = None,
    count: int = USUAL_COUNT,
    progress: ProgressBar | None = None,
) -> dict[str, str]:
    """Draw what the cache lacks of some places; a place that cannot be drawn holds up no other.

    Args:
        home: The registry's.
        places: Models and tasks of a version.
        model: As ``load_pipeline`` takes it.
        profile: Use this profile, for its task alone.
        count: Pictures of each kind.
        progress: Makes what reports progress, by a label.

    Returns:
        Why a place was not drawn, by the digest of its space.
    """
    notes = {}
    for place in places:
        if place.origin is None:
            continue
        try:
            pipe, found = _load(place, model, profile)
            with _bar(progress, place) as report:
                wanted = place.origin.wanted(count)
                draw_examples(pipe, found, wanted, place.scorers, cache_of(home), report)
        except UVRError as error:
            notes[place.space.digest] = f"Its pictures could not be drawn. {error}"
    return notes


def look_at_given(
    registry: Registry,
    detail: VersionDetail,
    place: Place,
    folders: Folders,
    *,
    model: str = TESTBED,
    profile: ModelProfile | None = None,
    progress: ProgressBar | None = None,
) -> Pictured:
    """Look at pictures that are given; they are told from others by the hashes on record.

    Raises:
        MismatchError: The version's anchors are of another model.
        NotFoundError: There is no such folder.
        PictureError: It holds no picture.
    """
    pipe, found = _load(place, model, profile)
    if anchor_space(pipe, found).digest != place.space.digest:
        raise MismatchError(f"The model '{model}' is not the one that the anchors are of.")
    space = place.space.space
    given = read_given(folders.images, folders.benign, detail.definition, space, found.size)
    wanted, kept = [item for item, _ in given], Kept(folders.scratch)
    with _bar(progress, place) as report:
        draw_examples(pipe, found, wanted, place.scorers, kept, report, dict(given))
    known = {
        item.ref.sha256
        for item in registry.exemplars.list(detail.version.slug)
        if item.anchor_set == place.space.anchor_set
    }
    matched = sum(file_digest(sample) in known for _, sample in given)
    return Pictured(
        place, *read(kept, place, wanted, seen=bool(matched)), note=_recorded(matched, len(given))
    )


def score_kept(
    registry: Registry,
    detail: VersionDetail,
    places: Sequence[Place],
    *,
    model: str = TESTBED,
    profile: ModelProfile | None = None,
    progress: ProgressBar | None = None,
) -> None:
    """Score the given pictures that are kept of a concept; the cache gets the scores alone.

    Raises:
        MismatchError: The version's anchors are of another model, or of other weights.
    """
    pictures = [item for item in registry.exemplars.kept(detail.version.slug) if item.readable]
    scores = ScoresAlone(registry.home / SCORED)
    for place in places:
        pipe, found = _load(place, model, profile)
        wanted = {wanted_of(item, detail, place.space, found.size): item for item in pictures}
        lacking = scores.lacking(wanted, [place.scorer])
        given = {
            item: Sample(open_kept(registry, wanted[item])[0], prompt=item.prompt)
            for item in lacking
        }
        with _bar(progress, place) as report:
            draw_examples(pipe, found, lacking, [place.scorer], scores, report, given)


def try_bundle(
    bundle: Bundle,
    about: About,
    given: Image.Image | None,
    *,
    checks: Sequence[Check] = (FeatureCheck(),),
    profile: ModelProfile | None = None,
    steps: int | None = None,
    progress: ProgressBar,
) -> Tried:
    """Draw a prompt with and without a bundle, from the same noise, and check both pictures.

    Args:
        bundle: What is banned.
        about: What is tried: the prompt, the model, the seed.
        given: The picture that the prompt edits; None to draw one.
        checks: What is done with finished pictures, where the bundle has anchors for it.
        profile: Use this profile instead of the one found for the model.
        steps: Of drawing; by default as many as the profile says.
        progress: Makes what reports progress, by a label.

    Raises:
        MismatchError: The bundle was made for another model or task.
    """
    pipe, found = load_pipeline(about.model, "t2i" if given is None else "edit", profile)
    request = {"prompt": about.prompt, "image": given, "num_inference_steps": steps}
    request = {name: value for name, value in request.items() if value is not None}
    # Regulated first: whether the model is the one that it was made for is told at once.
    with progress("Draw it regulated") as told:
        regulated, report = draw(pipe, found, request, seed=about.seed, bundle=bundle,
                                 progress=told)  # fmt: skip
    with progress("Draw without it") as told:
        stock, _ = draw(pipe, found, request, seed=about.seed, progress=told)
    report = cast(RegulationReport, report)  # There is one, as there was a bundle.
    drawn = {"stock": stock, "regulated": regulated}
    try:
        checked = {name: check_picture(pipe, found, bundle, picture, checks)
                   for name, picture in drawn.items()}  # fmt: skip
    except MismatchError:  # Many bundles have no anchors for it.
        checked = {}
    pictures = drawn if given is None else {"given": given, **drawn}
    return Tried(about, pictures, report, checked, heat_maps_of(report, stock))


def check_given(
    bundle: Bundle,
    about: About,
    given: Image.Image,
    *,
    checks: Sequence[Check] = (FeatureCheck(),),
    profile: ModelProfile | None = None,
) -> Tried:
    """Check a finished picture for what a bundle bans; nothing is drawn.

    Args:
        bundle: What is banned.
        about: What is tried: the model, and no prompt.
        given: The picture.
        checks: What is done with it.
        profile: See ``try_bundle``.

    Raises:
        MismatchError: The bundle has no anchors for checking with this model.
    """
    pipe, found = load_pipeline(about.model, None, profile)
    checked = check_picture(pipe, found, bundle, given, checks)
    return Tried(about, {"given": given}, None, {"given": checked}, heat_maps_of(checked, given))


def _recorded(matched: int, given: int) -> str:
    return (
        f"These pictures were given for this report. {matched} of {given} have a hash that is on "
        "record as an example that the version was made from; on those its figures are flattering."
    )


def _load(place: Place, model: str, profile: ModelProfile | None) -> tuple[object, ModelProfile]:
    space = place.space.space
    if model == TESTBED != space.model:
        raise MismatchError(f"They are of the model '{space.model}': name it with --model.")
    return load_pipeline(model, space.task, profile)


def _bar(progress: ProgressBar | None, place: Place) -> AbstractContextManager[Progress | None]:
    label = f"{place.space.space.model} {place.task}"
    return nullcontext() if progress is None else progress(label)
