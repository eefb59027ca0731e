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
from typing import Any

from concepts.anchors import AnchorSet
from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from concepts.scorer import Scorer
from uvr.anchors.calibration import RATE, fit_options, fit_scorer
from uvr.anchors.capture import Progress
from uvr.anchors.capturing import Capturing
from uvr.anchors.coverage import too_few
from uvr.anchors.doubts import doubts, foreseen, left_out
from uvr.anchors.exemplars import Exemplars, noise_draws, pictures_without, samples_of
from uvr.anchors.extend import extended, next_picture, require_space
from uvr.anchors.extract import anchor_space, collect_from_images, collect_from_prompts
from uvr.anchors.pictures import PictureError
from uvr.anchors.thresholds import require_promise
from uvr.pipelines import TESTBED, load_pipeline
from uvr.placement import Placement
from uvr.profiles import ModelProfile

ProgressBar = Callable[[str], AbstractContextManager[Progress]]
"""Makes what reports progress, by a label."""


@dataclass
class Collected:
    """What came of collecting one concept's anchors.

    Attributes:
        strict: Whether every task that was asked for is needed.
        collections: Anchors and scorer, one pair for each task that went well.
        problem: What went wrong, if anything did.
        doubts: Sentences about pictures that may not show what they should.
        foreseen: Such sentences that were known before anything was drawn.
        features: Keys of the batches whose features it came from.
    """

    strict: bool = False
    collections: list[tuple[AnchorSet, Scorer]] = field(default_factory=list)
    problem: UVRError | None = None
    doubts: list[str] = field(default_factory=list)
    foreseen: list[str] = field(default_factory=list)
    features: set[str] = field(default_factory=set)

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
    capturing: Capturing | None = None,
) -> tuple[AnchorSet, Scorer]:
    """Collect a concept's anchors for one model and task, and fit their scorer.

    Args:
        pipe: The pipeline.
        profile: Its profile.
        definition: The concept.
        exemplars: What to collect from.
        progress: Told how far it is.
        held: Anchors that the new ones are added to.
        doubt: Told a sentence about pictures that may not show what they should.
        capturing: How features are captured and where they are kept; by default in memory.

    Raises:
        ContentError: The definition names minors where it must not.
        PictureError: Exemplars that this task needs are lacking.
        MismatchError: ``held`` is of another anchor space.
        ConflictError: ``held`` has all of these anchors already.
        InputError: The definition asks for a rate that so few pictures cannot promise.
        UVRError: No patch shows the concept, or there is too little to calibrate with.
    """
    parameters = definition.parameters
    samples = samples_of(profile, definition, exemplars)
    if held is not None:
        require_space(held, anchor_space(pipe, profile))
    # Collecting takes long; what cannot come of it is refused before.
    without = pictures_without(definition, samples, held)
    if samples is not None and (why := too_few(len(samples[0]) + (held is not None), without)):
        raise PictureError(why)
    if RATE in parameters:
        require_promise(parameters[RATE], without)
    told: dict[str, Any] = {"capturing": capturing, "progress": progress}
    if samples is None:
        anchors = collect_from_prompts(
            pipe, profile, definition, seed=exemplars.seed, steps=exemplars.steps, **told
        )
    else:
        anchors = collect_from_images(
            pipe, profile, *samples, seed=exemplars.seed, noise_draws=noise_draws(definition),
            variants=exemplars.made, **told,
        )  # fmt: skip
    first = 0
    if held is not None:
        first, anchors = next_picture(held), extended(held, anchors)
    options = fit_options(anchors, profile.calibration, parameters)
    if doubt is not None:
        if samples is None:
            doubted = left_out(anchors, definition, first=first)
        else:
            doubted = doubts(anchors, *samples, options, first=first)
        for sentence in doubted:
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
    placement: Placement | None = None,
    capturing: Capturing | None = None,
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
        placement: Precision and offload of the model.
        capturing: See ``collect``.

    Returns:
        What was collected, by slug, in the order of the definitions.
    """
    collected = {
        definition.slug: Collected(
            strict=bool(tasks), foreseen=foreseen(definition, exemplars, model, tasks)
        )
        for definition in definitions
    }
    pipelines = load_all(model, tasks, profile, placement)
    if agree is not None:
        agree([found for _, found in pipelines])
    for pipe, found in pipelines:
        for definition in definitions:
            outcome = collected[definition.slug]
            if outcome.strict and outcome.problem is not None:
                continue
            asked = _with_prototypes(definition, prototypes)
            means = capturing and replace(capturing, used=outcome.features)
            bar = progress(f"{definition.slug} {found.task}") if progress else nullcontext()
            try:
                with bar as report:
                    anchors = collect(
                        pipe, found, asked, exemplars, report,
                        _of(found, (held or {}).get(definition.slug, ())), outcome.doubt, means,
                    )  # fmt: skip
                outcome.collections.append(anchors)
            except UVRError as error:
                outcome.problem = error
    return collected


def load_all(
    model: str,
    tasks: Sequence[str] = (),
    profile: ModelProfile | None = None,
    placement: Placement | None = None,
) -> list[tuple[Any, ModelProfile]]:
    """Load the pipeline of each task that is collected for; see ``collect_all``."""
    own = ("edit", "t2i") if model == TESTBED and profile is None else (None,)
    return [load_pipeline(model, task, profile, placement) for task in tasks or own]


def _of(profile: ModelProfile, sets: Sequence[AnchorSet]) -> AnchorSet | None:
    """Those of some anchors that are of a profile's model and task."""
    wanted = (profile.model, profile.task)
    return next((s for s in sets if (s.space.model, s.space.task) == wanted), None)


def _with_prototypes(definition: ConceptDefinition, count: int | None) -> ConceptDefinition:
    if count is None:
        return definition
    return replace(definition, parameters={**definition.parameters, "prototypes": count})
