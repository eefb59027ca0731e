"""From a definition to what a concept version holds: collect anchors, then fit their scorer.

1. With a folder of pictures: from those and their masks.
2. Without, for text-to-image: from the definition's prompts.
3. Without, for editing: from the testbed's own labelled scenes; other models need pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from concepts.anchors import AnchorSet
from concepts.definition import ConceptDefinition
from concepts.scorer import Scorer
from uvr.anchors.calibrate import fit_scorer
from uvr.anchors.capture import Progress
from uvr.anchors.extract import collect_from_images, collect_from_prompts
from uvr.anchors.pictures import PictureError, read_samples
from uvr.pipelines import TESTBED
from uvr.profiles import ModelProfile
from uvr.sample import Sample
from uvr.testbed.samples import CONCEPTS, labelled_samples

TESTBED_SCENES = 200
"""Labelled scenes of each kind that editing anchors of the testbed come from."""

_CALIBRATION = (
    "rule", "shrinkage", "image_false_positive_rate", "patch_false_positive_rate", "within_share",
    "margin", "prototypes",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """What to collect from.

    Attributes:
        images: Folder of pictures with masks, or None to use the definition's prompts.
        benign: Folder of pictures without the concept; required with ``images``.
        seed: Of the pictures or of their noise.
        steps: Inference steps of generated pictures; the profile's by default.
    """

    images: Path | None = None
    benign: Path | None = None
    seed: int = 0
    steps: int | None = None


def collect(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    source: Source,
    progress: Progress | None = None,
) -> tuple[AnchorSet, Scorer]:
    """Collect a concept's anchors for one model and task, and fit their scorer.

    Raises:
        PictureError: The source lacks pictures that this task needs.
        UVRError: No patch shows the concept, or there is too little to calibrate with.
    """
    parameters = definition.parameters
    samples = _samples(profile, definition, source)
    if samples is None:
        anchors = collect_from_prompts(
            pipe, profile, definition, seed=source.seed, steps=source.steps, progress=progress
        )
    else:
        anchors = collect_from_images(
            pipe,
            profile,
            *samples,
            seed=source.seed,
            noise_draws=int(parameters.get("noise_draws", 1)),
            progress=progress,
        )
    return anchors, fit_scorer(anchors, **{**profile.calibration, **calibration(parameters)})


def calibration(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a definition's parameters that ``fit_scorer`` takes."""
    return {name: parameters[name] for name in _CALIBRATION if name in parameters}


def _samples(
    profile: ModelProfile, definition: ConceptDefinition, source: Source
) -> tuple[list[Sample], list[Sample]] | None:
    """Pictures with the concept and without; None to generate them from prompts."""
    if source.images is None and source.benign is not None:
        raise PictureError("A folder of benign pictures needs one of pictures with the concept.")
    if source.images is not None:
        if source.benign is None:
            raise PictureError(
                "Pictures of the concept need pictures without it to compare with: add a folder of "
                "benign and near-miss pictures."
            )
        with_concept, without = _prompts(profile, definition)
        positives = read_samples(source.images, with_concept, masked=True)
        return positives, read_samples(source.benign, without)
    if profile.task == "t2i":
        return None
    if profile.model != TESTBED:
        raise PictureError(
            f"Editing with {profile.name} needs source pictures of the concept with masks, and "
            "benign ones: give a folder of each."
        )
    if definition.slug not in CONCEPTS:
        raise PictureError(
            f"The testbed has no scenes of '{definition.slug}' to edit; it has "
            f"{', '.join(CONCEPTS)}. Give a folder of pictures, or collect for t2i alone."
        )
    positives, benign = labelled_samples(definition.slug, profile.task, source.seed, TESTBED_SCENES)
    return list(positives), list(benign)


def _prompts(
    profile: ModelProfile, definition: ConceptDefinition
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Prompts for pictures with the concept and without, where they bring none of their own."""
    if profile.task == "edit":
        return definition.edits, definition.edits
    return definition.prompts, (*definition.near_misses, *definition.benign)
