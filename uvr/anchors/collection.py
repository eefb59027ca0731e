"""From a definition to what a concept version holds: collect anchors, then fit their scorer.

1. With a folder of pictures: from those and their masks.
2. Without, for text-to-image: from the definition's prompts.
3. Without, for editing and for the check: from the testbed's own labelled scenes; other models
   need pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from concepts.anchors import AnchorSet
from concepts.content_rules import check_content
from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from concepts.scorer import Scorer
from uvr.anchors.calibration import RATE, benign_pictures, fit_options, fit_scorer
from uvr.anchors.capture import Progress
from uvr.anchors.doubts import doubts
from uvr.anchors.extend import extended, next_picture, require_space
from uvr.anchors.extract import (
    anchor_space,
    collect_from_images,
    collect_from_prompts,
    seeds_per_prompt,
)
from uvr.anchors.pictures import PictureError, read_samples
from uvr.anchors.thresholds import require_promise
from uvr.anchors.variants import USUAL_KINDS
from uvr.pipelines import TESTBED, load_pipeline
from uvr.profiles import CHECK, UNSAID, ModelProfile
from uvr.sample import Sample
from uvr.testbed.samples import CONCEPTS, TESTBED_SCENES, labelled_samples

ProgressBar = Callable[[str], AbstractContextManager[Progress]]
"""Makes what reports progress, by a label."""


@dataclass(frozen=True)
class Exemplars:
    """The pictures to collect from: those of two folders, or drawn for it.

    Attributes:
        images: Folder of pictures with masks, or None to use the definition's prompts.
        benign: Folder of pictures without the concept; required with ``images``.
        seed: Of the pictures or of their noise.
        steps: Inference steps of generated pictures; the profile's by default.
        variants: Kinds of variants that are made of the pictures in ``images``.
    """

    images: Path | None = None
    benign: Path | None = None
    seed: int = 0
    steps: int | None = None
    variants: tuple[str, ...] = USUAL_KINDS


@dataclass
class Collected:
    """What came of collecting one concept's anchors.

    Attributes:
        strict: Whether every task that was asked for is needed.
        collections: Anchors and scorer, one pair for each task that went well.
        problem: What went wrong, if anything did.
        doubts: Sentences about pictures that may not show what their folder says.
    """

    strict: bool = False
    collections: list[tuple[AnchorSet, Scorer]] = field(default_factory=list)
    problem: UVRError | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the problem stands in the way of a version.

        Lacking pictures for a task that nobody asked for does not.
        """
        if self.problem is None:
            return False
        return self.strict or not self.collections or type(self.problem) is not PictureError

    def doubt(self, sentence: str) -> None:
        """Keep a sentence about a picture; two tasks may say the same."""
        if sentence not in self.doubts:
            self.doubts.append(sentence)


def collect(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    exemplars: Exemplars,
    progress: Progress | None = None,
    held: AnchorSet | None = None,
    doubt: Callable[[str], object] | None = None,
) -> tuple[AnchorSet, Scorer]:
    """Collect a concept's anchors for one model and task, and fit their scorer.

    Args:
        pipe: The pipeline.
        profile: Its profile.
        definition: The concept.
        exemplars: What to collect from.
        progress: Told how far it is.
        held: Anchors that the new ones are added to.
        doubt: Told a sentence about each picture that may not show what its folder says.

    Raises:
        ContentError: The definition names minors where it must not.
        PictureError: Exemplars that this task needs are lacking.
        MismatchError: ``held`` is of another anchor space.
        ConflictError: ``held`` has all of these anchors already.
        InputError: The definition asks for a rate that so few pictures cannot promise.
        UVRError: No patch shows the concept, or there is too little to calibrate with.
    """
    check_content(definition)
    parameters = definition.parameters
    if held is not None:
        require_space(held, anchor_space(pipe, profile))
    samples = samples_of(profile, definition, exemplars)
    if RATE in parameters:  # Collecting takes long; what cannot come of it is refused before.
        require_promise(parameters[RATE], _pictures_without(definition, samples, held))
    if samples is None:
        anchors = collect_from_prompts(
            pipe, profile, definition, seed=exemplars.seed, steps=exemplars.steps, progress=progress
        )
    else:
        anchors = collect_from_images(
            pipe,
            profile,
            *samples,
            seed=exemplars.seed,
            noise_draws=int(parameters.get("noise_draws", 1)),
            variants=exemplars.variants if exemplars.images is not None else (),
            progress=progress,
        )
    first = 0
    if held is not None:
        first, anchors = next_picture(held), extended(held, anchors)
    options = fit_options(anchors, profile.calibration, parameters)
    if samples is not None and doubt is not None:
        for sentence in doubts(anchors, *samples, options, first=first):
            doubt(sentence)
    return anchors, fit_scorer(anchors, **options)


def collect_all(
    definitions: Sequence[ConceptDefinition],
    exemplars: Exemplars,
    *,
    model: str = TESTBED,
    tasks: Sequence[str] = (),
    profile: ModelProfile | None = None,
    prototypes: int | None = None,
    held: Mapping[str, Sequence[AnchorSet]] | None = None,
    agree: Callable[[Sequence[ModelProfile]], object] | None = None,
    progress: ProgressBar | None = None,
) -> dict[str, Collected]:
    """Collect several concepts' anchors, for each task of a model.

    Collecting takes long, so a concept that fails does not hold up the others.

    Args:
        definitions: The concepts.
        exemplars: What to collect from.
        model: As ``load_pipeline`` takes it.
        tasks: Of "t2i", "edit" and "check"; a concept needs each of them. By default, the first
            two on the testbed and else the model's own, and a concept may lack pictures for one.
        profile: Use this profile, for its task alone.
        prototypes: Directions that stand for the anchors, in place of the definitions' own.
        held: Anchors to add to, by slug; those of another model or task count for nothing.
        agree: Called with the profiles once the models are loaded; what it raises ends it all
            before anything is collected.
        progress: Makes what reports the progress of one concept and task, by their names.

    Returns:
        What was collected, by slug, in the order of the definitions.
    """
    collected = {definition.slug: Collected(strict=bool(tasks)) for definition in definitions}
    own = ("edit", "t2i") if model == TESTBED and profile is None else (None,)
    pipelines = [load_pipeline(model, task, profile) for task in tasks or own]
    if agree is not None:
        agree([found for _, found in pipelines])
    for pipe, found in pipelines:
        for definition in definitions:
            outcome = collected[definition.slug]
            if outcome.strict and outcome.problem is not None:
                continue
            asked = _with_prototypes(definition, prototypes)
            bar = progress(f"{definition.slug} {found.task}") if progress else nullcontext()
            try:
                with bar as report:
                    anchors = collect(
                        pipe, found, asked, exemplars, report,
                        _of(found, (held or {}).get(definition.slug, ())), outcome.doubt,
                    )  # fmt: skip
                outcome.collections.append(anchors)
            except UVRError as error:
                outcome.problem = error
    return collected


def _of(profile: ModelProfile, sets: Sequence[AnchorSet]) -> AnchorSet | None:
    """Those of some anchors that are of a profile's model and task."""
    wanted = (profile.model, profile.task)
    return next((s for s in sets if (s.space.model, s.space.task) == wanted), None)


def _with_prototypes(definition: ConceptDefinition, count: int | None) -> ConceptDefinition:
    if count is None:
        return definition
    return replace(definition, parameters={**definition.parameters, "prototypes": count})


def samples_of(
    profile: ModelProfile, definition: ConceptDefinition, exemplars: Exemplars
) -> tuple[list[Sample], list[Sample]] | None:
    """Pictures with the concept and without; None to generate them from prompts."""
    if exemplars.images is None and exemplars.benign is not None:
        raise PictureError("A folder of benign pictures needs one of pictures with the concept.")
    if exemplars.images is not None:
        if exemplars.benign is None:
            raise PictureError(
                "Pictures of the concept need pictures without it to compare with: add a folder of "
                "benign and near-miss pictures."
            )
        with_concept, without = _prompts(profile, definition)
        positives = read_samples(exemplars.images, with_concept, masked=True)
        benign = read_samples(exemplars.benign, without)
        return _as_asked(profile, positives), _as_asked(profile, benign)
    if profile.task == "t2i":
        return None
    if profile.model != TESTBED:
        raise PictureError(
            f"Anchors for {profile.name} come from pictures of the concept with masks, and "
            "benign ones: give a folder of each."
        )
    if definition.slug not in CONCEPTS:
        raise PictureError(
            f"The testbed has no scenes of '{definition.slug}' for the task {profile.task!r}; it "
            f"has {', '.join(CONCEPTS)}. Give a folder of pictures, or collect for t2i alone."
        )
    positives, benign = labelled_samples(
        definition.slug, profile.task, exemplars.seed, TESTBED_SCENES[profile.task]
    )
    return _as_asked(profile, positives), _as_asked(profile, benign)


def _as_asked(profile: ModelProfile, samples: Sequence[Sample]) -> list[Sample]:
    """The pictures under their own texts or, as finished pictures are checked, one that is mute."""
    if profile.task != CHECK:
        return list(samples)
    return [replace(sample, prompt=UNSAID) for sample in samples]


def _pictures_without(
    definition: ConceptDefinition,
    samples: tuple[list[Sample], list[Sample]] | None,
    held: AnchorSet | None,
) -> int:
    """Number of pictures without the concept that a collection will have."""
    if samples is None:
        new = seeds_per_prompt(definition) * len(definition.near_misses + definition.benign)
    else:
        new = len(samples[1])
    return new + (benign_pictures(held) if held is not None else 0)


def _prompts(
    profile: ModelProfile, definition: ConceptDefinition
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts for pictures with the concept and without, where they bring none of their own."""
    if profile.task == "edit":
        return definition.edits, definition.edits
    return definition.prompts, (*definition.near_misses, *definition.benign)
