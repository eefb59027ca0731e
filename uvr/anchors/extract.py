"""Collect anchors and counter-anchors, from pictures with masks or from prompts.

From pictures: encode, add noise to the look's noise level, one transformer pass. Cheap, and how a
policy team brings reference art. From prompts: generate, and capture along the real trajectory; the
patches that show the concept are then told apart without a segmenter (``label_patches``).
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.errors import UVRError
from concepts.prototypes import balanced_weights
from uvr.anchors.capture import (
    FeatureArray,
    Progress,
    capture_from_images,
    capture_from_prompts,
)
from uvr.anchors.directions import fit_direction
from uvr.anchors.kinds import NEAR_MISS, kinds_of, variants_of
from uvr.anchors.variants import make_variants
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
    batch_size: int = 8,
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
        batch_size: Pictures in a pass.
        progress: Told how far it is.

    Raises:
        UVRError: A positive picture has no mask, or no patch is covered enough.
    """
    if any(sample.mask is None for sample in positives):
        raise UVRError("Every picture of the concept needs a mask of the pixels that show it.")
    grid = picture_grid(pipe, profile)
    shown = [_anchors_of(sample, grid).any() for sample in positives]
    # One that gives no anchors would have a number that no anchor has.
    made = [
        variant
        for variant in make_variants(positives, variants, seed)
        if shown[variant.of] and _anchors_of(variant.sample, grid).any()
    ]
    samples = [*positives, *benign, *(variant.sample for variant in made)]
    features = capture_from_images(
        pipe,
        profile,
        samples,
        seed=seed,
        noise_draws=noise_draws,
        batch_size=batch_size,
        progress=progress,
    )
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
        **_conditions(profile, profile.steps),
    }
    return _anchor_set(pipe, profile, features, anchors, counters, numbers, provenance, seed)


def collect_from_prompts(
    pipe: Any,
    profile: ModelProfile,
    definition: ConceptDefinition,
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> AnchorSet:
    """Generate pictures for a definition's prompts and collect anchors from them.

    Features of the look step, from the real trajectory, become the anchors; features of the last
    step, where the picture is plain to see, say which patches show the concept. Both are held in
    memory until then: about 100 MB a picture of 4,096 patches with features of 3,072
    numbers.

    Raises:
        UVRError: The definition has no near-miss or benign prompts, or no patch stands out.
        ValueError: The profile is for editing, which needs source pictures.
    """
    if profile.task != "t2i":
        raise ValueError("editing needs source pictures: use collect_from_images")
    positive = list(definition.prompts)
    counter = [*definition.near_misses, *definition.benign]
    if not positive or not counter:
        raise UVRError(
            f"Concept {definition.slug!r} needs prompts, and near-misses or benign prompts: found "
            f"{len(positive)} and {len(counter)}."
        )
    repeats = seeds_per_prompt(definition)
    prompts = [prompt for prompt in positive + counter for _ in range(repeats)]
    look, late = capture_from_prompts(
        pipe, profile, prompts, seed=seed, steps=steps, batch_size=batch_size, progress=progress
    )
    split = len(positive) * repeats
    shows, clear = label_patches(late[:split], late[split:])
    if not shows.any():
        raise UVRError(
            f"No patch of {split} pictures for {definition.slug!r} stands out from the "
            f"{len(prompts) - split} others: does the model draw this concept?"
        )
    clear &= shows.any(axis=1, keepdims=True)  # or it would pass for a picture without the concept
    everything = np.ones((len(prompts) - split, late.shape[1]), dtype=bool)
    provenance = {
        "method": "prompts",
        "prompts": positive,
        "counter_prompts": counter,
        "seeds_per_prompt": repeats,
        "seed": seed,
        **kinds_of([NEAR_MISS if prompt in definition.near_misses else "" for prompt in prompts]),
        **_conditions(profile, steps or profile.steps),
    }
    anchors = np.concatenate([shows, np.zeros_like(everything)])
    counters = np.concatenate([clear, everything])
    numbers = np.arange(len(prompts))
    return _anchor_set(pipe, profile, look, anchors, counters, numbers, provenance, seed)


def seeds_per_prompt(definition: ConceptDefinition) -> int:
    """Number of pictures that are drawn for each prompt of a definition."""
    return int(definition.parameters.get("seeds_per_prompt", 4))


def label_patches(
    positive: FeatureArray, counter: FeatureArray, *, rate: float = 0.01, clear_rate: float = 0.2
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the patches that show a concept, knowing only which pictures do.

    A direction is fitted on all patches of pictures that show the concept against all patches of
    those that do not. It is then refitted twice, on the patches that stand out; the lower-scoring
    half of the same pictures joins the other side, because every patch knows a little of what else
    is in its picture. A concept that fills more than half of its pictures is labelled only in part.

    Args:
        positive: Late features of pictures that show the concept, (pictures, patches, dim).
        counter: The same of pictures that do not.
        rate: Share of the other side's patches allowed above the line.
        clear_rate: Patches below the other side's ``1 - clear_rate`` quantile are clear of it.

    Returns:
        Which positive patches show the concept, and which clearly do not; the rest is unsure.
    """
    counters = counter.reshape(-1, counter.shape[-1])
    direction = fit_direction(positive.reshape(-1, positive.shape[-1]), counters)
    scores = direction.scores(positive)
    line = clear_line = _line(scores, direction.scores(counters), rate)
    for _ in range(2):
        shows, lower = scores > line, scores <= np.median(scores)
        if not shows.any():
            break
        other = np.concatenate([positive[lower], counters])
        weights = balanced_weights(np.arange(len(other)) < int(lower.sum()))
        direction = fit_direction(positive[shows], other, weights=weights)
        scores, outside = direction.scores(positive), direction.scores(counters)
        line = _line(scores, outside, rate)
        clear_line = _line(scores, outside, clear_rate)
    shows = scores > line
    return shows, ~shows & (scores < clear_line)


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
    features: FeatureArray,
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
        anchors=features[anchors],
        anchor_images=pictures[anchors],
        counter_anchors=features[counters],
        counter_images=pictures[counters],
        provenance=provenance,
    )


def _line(inside: NDArray[Any], outside: NDArray[Any], rate: float) -> float:
    """Score that about ``rate`` of the patches without the concept exceed.

    Outside of its pictures that is a quantile. Within them, the lower half is taken to be free of
    it, and tells the spread of the rest by assuming a normal distribution.
    """
    tenth, median = np.quantile(inside, [0.1, 0.5])
    deviation = float(median - tenth) / NormalDist().inv_cdf(0.9)
    within = float(median) + NormalDist().inv_cdf(1 - rate) * deviation
    return max(within, float(np.quantile(outside, 1 - rate)))


def _conditions(profile: ModelProfile, steps: int) -> dict[str, Any]:
    """What ``uvr.conditions.conditions_of`` reads."""
    given = {"size": list(profile.size), "steps": steps}
    text_length = profile.call.get("max_sequence_length")
    return given if text_length is None else {**given, "text_length": text_length}


def _thin(chosen: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.bool_]:
    """Keep at most ``MAX_COUNTERS`` patches of each picture."""
    if chosen.shape[1] <= MAX_COUNTERS:
        return chosen
    order = np.where(chosen, random.random(chosen.shape), np.inf)
    rank = order.argsort(axis=1).argsort(axis=1)
    return chosen & (rank < MAX_COUNTERS)


def picture_grid(pipe: Any, profile: ModelProfile) -> tuple[int, int]:
    """Rows and columns of patches of the profile's usual pictures."""
    height, width = profile.size
    patch = family_of(pipe).patch_size(pipe)
    return height // patch, width // patch
