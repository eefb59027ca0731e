"""Collect anchors and counter-anchors, from pictures with masks or from prompts.

From pictures: encode, add noise to the look's noise level, one transformer pass. Cheap, and how a
policy team brings reference art. From prompts: generate, and capture along the real trajectory; the
patches that show the concept are then told apart without a segmenter (``uvr.anchors.labels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from uvr.anchors.batches import BATCH_SIZE, NoisedBatch, drawn_batches, noised_batches
from uvr.anchors.capture import Progress, look_sigma, picture_grid
from uvr.anchors.capturing import Capturing
from uvr.anchors.kinds import NEAR_MISS, kinds_of, variants_of
from uvr.anchors.labels import label_patches
from uvr.anchors.stack import Pictures, Rows
from uvr.anchors.variants import Variant, make_variants
from uvr.families.family import tap_width
from uvr.families.known import family_of
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision
from uvr.sample import Sample

MIN_COVERAGE = 0.35
"""Share of a patch that the concept must cover for it to become an anchor."""
MAX_COUNTERS = 256
"""Counter-anchors kept of each picture, drawn at random; a 1024x1024 picture has 4,096 patches."""


def collect_from_images(
    pipe: Any,
    profile: ModelProfile,
    positives: Sequence[Sample],
    benign: Sequence[Sample],
    *,
    seed: int = 0,
    noise_draws: int = 1,
    variants: Sequence[str] = (),
    capturing: Capturing | None = None,
    progress: Progress | None = None,
) -> AnchorSet:
    """Collect anchors from pictures with masks, counter-anchors from the rest of them and others.

    Patches covered by at least ``MIN_COVERAGE`` of the concept become anchors; patches that it does
    not touch become counter-anchors, as do all patches of ``benign``.

    Args:
        pipe: The pipeline.
        profile: Its profile.
        positives: Pictures with masks, numbered from 0.
        benign: Pictures without the concept, numbered after them.
        seed: Of noise and of variants.
        noise_draws: How often each picture is noised.
        variants: Kinds of variants that are made of ``positives`` and collected from as well,
            numbered last (``uvr.anchors.variants``).
        capturing: How features are captured and where they are kept; by default in memory.
        progress: Told how far it is.

    Raises:
        UVRError: A positive picture has no mask, or no patch is covered enough.
    """
    capturing = capturing or Capturing()
    made = usable_variants(pipe, profile, positives, variants, seed)
    samples = [*positives, *benign, *(variant.sample for variant in made)]
    batches = image_batches(
        pipe, profile, samples, seed=seed, noise_draws=noise_draws, size=capturing.size
    )
    features = capturing.stacks(pipe, profile, batches, progress)["look"]
    grid = picture_grid(pipe, profile)
    covered = np.stack([patch_coverage(sample.mask, grid) for sample in samples])
    shows, clear = covered >= MIN_COVERAGE, covered == 0
    # A picture of the concept without anchors must not pass for one that lacks the concept.
    clear[: len(positives)] &= shows[: len(positives)].any(axis=1, keepdims=True)
    anchors = np.tile(shows, (noise_draws, 1))
    counters = np.tile(clear, (noise_draws, 1))
    # Draws of one picture share its number, so that they never fall into different halves.
    numbers = np.tile(np.arange(len(samples)), noise_draws)
    provenance = {
        "method": "images",
        "positives": len(positives),
        "benign": len(benign),
        "noise_draws": noise_draws,
        "seed": seed,
        **kinds_of([sample.kind for sample in samples]),
        **variants_of([(v.kind, v.of) for v in made], first=len(positives) + len(benign)),
        **_conditions(profile, profile.steps, capturing),
    }
    return _anchor_set(pipe, profile, features, anchors, counters, numbers, provenance, seed)


def usable_variants(
    pipe: Any, profile: ModelProfile, positives: Sequence[Sample], kinds: Sequence[str], seed: int
) -> list[Variant]:
    """Variants of pictures that give anchors, as far as they give some too.

    One that gives none would have a number that no anchor has.

    Raises:
        UVRError: A picture has no mask.
    """
    if any(sample.mask is None for sample in positives):
        raise UVRError("Every picture of the concept needs a mask of the pixels that show it.")
    grid = picture_grid(pipe, profile)
    shown = [_anchors_of(sample, grid).any() for sample in positives]
    return [
        variant
        for variant in make_variants(positives, kinds, seed)
        if shown[variant.of] and _anchors_of(variant.sample, grid).any()
    ]


def image_batches(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    *,
    seed: int,
    noise_draws: int,
    size: int,
) -> list[NoisedBatch]:
    """Batches of pictures noised to the look's level, all of the first draw first."""
    sigma = look_sigma(pipe, profile)
    work = list(samples) * noise_draws
    return list(noised_batches(pipe, profile, work, sigma, seed=seed, size=size))


def collect_from_prompts(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    *,
    seed: int = 0,
    steps: int | None = None,
    capturing: Capturing | None = None,
    progress: Progress | None = None,
) -> AnchorSet:
    """Generate pictures for a definition's prompts and collect anchors from them.

    Features of the look step, from the real trajectory, become the anchors; features of the last
    step, where the picture is plain to see, say which patches show the concept. Both are kept
    until then: about 100 MB a picture of 4,096 patches with features of 3,072 numbers, in memory
    unless ``capturing`` has a folder.

    Raises:
        UVRError: The definition has no near-miss or benign prompts, or no patch stands out.
        ValueError: The profile is for editing, which needs source pictures.
    """
    if profile.task != "t2i":
        raise ValueError("editing needs source pictures: use collect_from_images")
    capturing, steps = capturing or Capturing(), steps or profile.steps
    prompts, split = prompts_of(definition)
    batches = drawn_batches(prompts, seed=seed, steps=steps, size=capturing.size)
    stacks = capturing.stacks(pipe, profile, batches, progress)
    shows, clear = label_patches(stacks["late"], split)
    if not shows.any():
        raise UVRError(
            f"No patch of {split} pictures for {definition.slug!r} stands out from the "
            f"{len(prompts) - split} others: does the model draw this concept?"
        )
    clear &= shows.any(axis=1, keepdims=True)  # or it would pass for a picture without the concept
    everything = np.ones((len(prompts) - split, shows.shape[1]), dtype=bool)
    provenance = {
        "method": "prompts",
        "prompts": list(definition.prompts),
        "counter_prompts": [*definition.near_misses, *definition.benign],
        "seeds_per_prompt": seeds_per_prompt(definition),
        "seed": seed,
        **kinds_of([NEAR_MISS if prompt in definition.near_misses else "" for prompt in prompts]),
        **_conditions(profile, steps, capturing),
    }
    anchors = np.concatenate([shows, np.zeros_like(everything)])
    counters = np.concatenate([clear, everything])
    numbers = np.arange(len(prompts))
    look = stacks["look"]
    return _anchor_set(pipe, profile, look, anchors, counters, numbers, provenance, seed)


def prompts_of(definition: ConceptDefinition) -> tuple[list[str], int]:
    """The prompt of each picture that is drawn for a definition, and how many show the concept.

    Raises:
        UVRError: It has no prompts, or neither near-misses nor benign prompts.
    """
    counter = [*definition.near_misses, *definition.benign]
    if not definition.prompts or not counter:
        raise UVRError(
            f"Concept {definition.slug!r} needs prompts, and near-misses or benign prompts: found "
            f"{len(definition.prompts)} and {len(counter)}."
        )
    repeats = seeds_per_prompt(definition)
    prompts = [prompt for prompt in (*definition.prompts, *counter) for _ in range(repeats)]
    return prompts, repeats * len(definition.prompts)


def seeds_per_prompt(definition: ConceptDefinition) -> int:
    """Number of pictures that are drawn for each prompt of a definition."""
    return int(definition.parameters.get("seeds_per_prompt", 4))


def _anchors_of(sample: Sample, grid: tuple[int, int]) -> NDArray[np.bool_]:
    """Which patches of a picture become anchors, (patches,)."""
    return patch_coverage(sample.mask, grid) >= MIN_COVERAGE


def patch_coverage(
    mask: Image.Image | NDArray[Any] | None, grid: tuple[int, int]
) -> NDArray[np.float32]:
    """Share of each patch that a mask covers, (patches,), 0 to 1; zeros without a mask."""
    if mask is None:
        return np.zeros(grid[0] * grid[1], dtype=np.float32)
    pixels = np.asarray(mask)
    if pixels.ndim == 3:
        pixels = pixels.max(axis=2)
    solid = torch.from_numpy((pixels > 0).astype(np.float32))[None, None]
    coverage: NDArray[np.float32] = F.adaptive_avg_pool2d(solid, grid).flatten().numpy()
    return coverage


def anchor_space(pipe: Any, profile: ModelProfile) -> AnchorSpace:
    """Space of the anchors that this pipeline and profile give."""
    transformer = pipe.transformer
    return AnchorSpace(
        model=profile.model,
        revision=weights_revision(transformer),
        task=profile.task,
        taps=profile.taps,
        dim=tap_width(family_of(pipe), transformer, profile.taps),
        sigma=profile.sigma,
    )


def _anchor_set(
    pipe: Any,
    profile: ModelProfile,
    features: Pictures,
    anchors: NDArray[np.bool_],
    counters: NDArray[np.bool_],
    numbers: NDArray[np.int_],
    provenance: dict[str, Any],
    seed: int,
) -> AnchorSet:
    """Gather labelled patches, (pictures, patches, dim) by (pictures, patches)."""
    if not anchors.any():
        raise UVRError(
            f"No patch is covered by at least {MIN_COVERAGE:.0%} of the concept: the masks are "
            "empty or the concept is smaller than a patch."
        )
    counters = _thin(counters, np.random.default_rng(seed))
    pictures = np.broadcast_to(numbers[:, None].astype(np.int32), anchors.shape)
    return AnchorSet(
        space=anchor_space(pipe, profile),
        anchors=Rows(features, anchors)[:],
        anchor_images=pictures[anchors],
        counter_anchors=Rows(features, counters)[:],
        counter_images=pictures[counters],
        provenance=provenance,
    )


def _conditions(profile: ModelProfile, steps: int, capturing: Capturing) -> dict[str, Any]:
    """What ``uvr.conditions.conditions_of`` reads, and an unusual size of batches."""
    given: dict[str, Any] = {"size": list(profile.size), "steps": steps}
    text_length = profile.call.get("max_sequence_length")
    if text_length is not None:
        given["text_length"] = text_length
    return given if capturing.size == BATCH_SIZE else {**given, "batch_size": capturing.size}


def _thin(chosen: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """Keep at most ``MAX_COUNTERS`` patches of each picture."""
    if chosen.shape[1] <= MAX_COUNTERS:
        return chosen
    order = np.where(chosen, random.random(chosen.shape), np.inf)
    rank = order.argsort(axis=1).argsort(axis=1)
    return chosen & (rank < MAX_COUNTERS)
