"""Labelled pictures of a concept: given, the testbed's own scenes, or drawn from prompts.

Drawn pictures are labelled by the model itself: features of the last step, where the picture is
plain to see, say which patches show the concept (``uvr.anchors.labels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from uvr.anchors.capture import Progress, picture_grid, recorded_features
from uvr.anchors.exemplars import Exemplars, samples_of
from uvr.anchors.extract import prompts_of
from uvr.anchors.labels import label_patches
from uvr.families.known import family_of
from uvr.pipelines import TESTBED
from uvr.profiles import ModelProfile
from uvr.sample import Sample
from uvr.testbed.samples import CONCEPTS, labelled_samples

BATCH = 4
SCENES = 200
"""Labelled scenes of the testbed, with the concept and without."""
Pictures = tuple[list[Sample], list[Sample]]
"""Those that show the concept, with masks, and those that do not."""


def labelled_pictures(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    exemplars: Exemplars,
    progress: Progress | None = None,
) -> Pictures:
    """Find pictures of a concept and others, from the sources that anchors are collected from.

    Raises:
        PictureError: Exemplars that this task needs are lacking.
        UVRError: Drawn pictures do not show the concept.
    """
    given = samples_of(profile, definition, exemplars)
    if given is not None:
        return given
    if profile.model == TESTBED and definition.slug in CONCEPTS:
        return labelled_samples(definition.slug, profile.task, exemplars.seed, SCENES)
    return drawn_pictures(pipe, profile, definition, exemplars, progress)


def drawn_pictures(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    exemplars: Exemplars,
    progress: Progress | None = None,
) -> Pictures:
    """Draw a definition's prompts and label the patches of the pictures.

    Raises:
        UVRError: No patch of the pictures for the prompts stands out from the others.
    """
    prompts, split = prompts_of(definition)
    images: list[Image.Image] = []
    late = []
    for start in range(0, len(prompts), BATCH):
        seeds = range(exemplars.seed + start, exemplars.seed + start + BATCH)
        drawn, features = _draw(pipe, profile, prompts[start : start + BATCH], seeds, exemplars)
        images += drawn
        late.append(features)
        if progress is not None:
            progress(len(images), len(prompts))
    shows, _ = label_patches(np.concatenate(late), split)
    if not shows.any():
        raise UVRError(
            f"No patch of {split} pictures for {definition.slug!r} stands out from the "
            f"{len(prompts) - split} others: does the model draw this concept? Pictures with masks "
            "can take their place."
        )
    masks = shows.reshape(split, *picture_grid(pipe, profile))
    samples = [
        Sample(image, masks[index] if index < split else None, prompt)
        for index, (image, prompt) in enumerate(zip(images, prompts, strict=True))
    ]
    return samples[:split], samples[split:]


def _draw(
    pipe: Any,
    profile: ModelProfile,
    prompts: Sequence[str],
    seeds: Sequence[int],
    exemplars: Exemplars,
) -> tuple[list[Image.Image], Any]:
    """Pictures, and their features at the profile's taps at the last step."""
    request = {"prompt": list(prompts), "num_inference_steps": exemplars.steps or profile.steps}
    arguments = family_of(pipe).call_arguments(profile, request)
    generators = [
        torch.Generator().manual_seed(seed) for seed, _ in zip(seeds, prompts, strict=False)
    ]
    with recorded_features(pipe, profile) as recorded:
        images = pipe(generator=generators, **arguments).images
    return images, recorded["late"]
