"""The plan of a collection: how many pictures, and what they take of disk, memory and time.

Only time has to be tried out: one batch of each concept and task is captured, kept like any other,
and timed. Where all are kept already, nothing is left to do but the fit.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import ceil
from typing import Any

from concepts.definition import ConceptDefinition
from uvr.anchors.batches import Batch, batch_key, drawn_batches, shared_content
from uvr.anchors.capture import picture_grid
from uvr.anchors.capturing import Capturing, feature_bytes
from uvr.anchors.collection import load_all
from uvr.anchors.doubts import foreseen
from uvr.anchors.exemplars import Exemplars, noise_draws, samples_of
from uvr.anchors.extract import MAX_COUNTERS, image_batches, prompts_of, usable_variants
from uvr.anchors.pictures import PictureError
from uvr.pipelines import TESTBED
from uvr.placement import Placement
from uvr.profiles import ModelProfile

FIT_COPIES = 3
"""Times that anchors and counter-anchors are in memory at once while their scorer is fitted; 2.5
were measured, see docs/collecting.md."""


@dataclass(frozen=True)
class Plan:
    """What collecting one concept's anchors for one model and task takes.

    Attributes:
        slug: The concept.
        task: "t2i", "edit" or "check".
        model: Name of the model.
        device: Kind of device, such as "cuda".
        dtype: Precision of the weights.
        pictures: Pictures in all, each as often as it is noised.
        kept: How many of them are captured already.
        batches: Batches in all.
        batch_size: Pictures in a batch.
        disk_bytes: What features of the pictures that are left take, until the version is made.
        memory_bytes: What features take of memory at once, beside the model: those of a batch, or
            those that the fit holds where each picture gives as many counter-anchors as are kept
            and as many anchors again.
        seconds_a_batch: What a batch took; None where all are kept.
        warnings: Sentences about prompts that the model will not draw.
    """

    slug: str
    task: str
    model: str
    device: str
    dtype: str
    pictures: int
    kept: int
    batches: int
    batch_size: int
    disk_bytes: int
    memory_bytes: int
    seconds_a_batch: float | None
    warnings: tuple[str, ...] = ()

    @property
    def seconds_left(self) -> float:
        """Estimate of what the pictures that are left take, one batch after the other."""
        left = ceil((self.pictures - self.kept) / self.batch_size)
        return left * (self.seconds_a_batch or 0.0)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {**asdict(self), "seconds_left": self.seconds_left}


def plan_all(
    definitions: Sequence[ConceptDefinition],
    exemplars: Exemplars,
    capturing: Capturing,
    *,
    model: str = TESTBED,
    tasks: Sequence[str] = (),
    profile: ModelProfile | None = None,
    placement: Placement | None = None,
) -> tuple[list[Plan], list[str]]:
    """Plan several concepts' collections; for the arguments see ``collect_all``.

    Returns:
        The plans, and a sentence about each concept that lacks pictures for a task that nobody
        asked for.

    Raises:
        PictureError: It lacks them for one that somebody did, or none has pictures for any.
        UVRError: See ``plan_collection``.
    """
    plans, lacking = [], []
    for pipe, found in load_all(model, tasks, profile, placement):
        for definition in definitions:
            try:
                plan = plan_collection(pipe, found, definition, exemplars, capturing)
                said = foreseen(definition, exemplars, model, (found.task,))
                plans.append(replace(plan, warnings=tuple(said)))
            except PictureError as error:
                if tasks:
                    raise
                lacking.append(f"{definition.slug} is not collected for {found.task}. {error}")
    if lacking and not plans:
        raise PictureError(" ".join(lacking))
    return plans, lacking


def plan_collection(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    exemplars: Exemplars,
    capturing: Capturing,
) -> Plan:
    """Plan a collection, and capture the first of its batches that is not kept.

    Args:
        pipe: The pipeline.
        profile: Its profile.
        definition: The concept.
        exemplars: What is collected from.
        capturing: As the collection will have it.

    Raises:
        PictureError: Exemplars that this task needs are lacking.
        UVRError: The definition lacks prompts, or a picture its mask.
    """
    batches = batches_of(pipe, profile, definition, exemplars, capturing.size)
    shared = shared_content(pipe, profile)
    left = [batch for batch in batches if batch_key(shared, batch) not in capturing.kept]
    seconds = None
    if left:
        start = time.perf_counter()
        capturing.stacks(pipe, profile, left[:1])
        seconds = time.perf_counter() - start
    pictures = sum(map(len, batches))
    todo = sum(map(len, left[1:]))
    each = feature_bytes(pipe, profile)
    kinds = len(batches[0].kinds)
    device, dtype = shared["model"]["on"]
    return Plan(
        slug=definition.slug,
        task=profile.task,
        model=profile.model,
        device=device,
        dtype=dtype.removeprefix("torch."),
        pictures=pictures,
        kept=pictures - todo,
        batches=len(batches),
        batch_size=capturing.size,
        disk_bytes=todo * kinds * each,
        memory_bytes=max(capturing.size * kinds * each, pictures * _fit_bytes(pipe, profile, each)),
        seconds_a_batch=seconds,
    )


def batches_of(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    exemplars: Exemplars,
    size: int,
) -> Sequence[Batch]:
    """The batches that a collection captures, in their order.

    Raises:
        PictureError: See ``plan_collection``.
        UVRError: The same.
    """
    given = samples_of(profile, definition, exemplars)
    if given is None:
        prompts, _ = prompts_of(definition)
        steps = exemplars.steps or profile.steps
        return drawn_batches(prompts, seed=exemplars.seed, steps=steps, size=size)
    positives, benign = given
    made = usable_variants(pipe, profile, positives, exemplars.made, exemplars.seed)
    samples = [*positives, *benign, *(variant.sample for variant in made)]
    draws = noise_draws(definition)
    return image_batches(pipe, profile, samples, seed=exemplars.seed, noise_draws=draws, size=size)


def _fit_bytes(pipe: Any, profile: ModelProfile, each: int) -> int:
    """What the fit holds of one picture, whose features take ``each`` bytes."""
    rows, columns = picture_grid(pipe, profile)
    patches = rows * columns
    return FIT_COPIES * min(2 * MAX_COUNTERS, patches) * each // patches
