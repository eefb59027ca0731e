"""How well features tell a concept from the picture alone, under captions that say nothing.

1. Anchors of a concept are collected from labelled scenes whose captions name no thing, at a late
   noise level, with the engine's own taps, extraction and scorer.
2. Other scenes with the concept are scored. An object is found when a patch that it covers scores
   at or above the score that 1% of benign pictures reach.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvr.anchors.calibration import fit_scorer
from uvr.anchors.capture import capture_from_images
from uvr.anchors.directions import Direction, highest_scores
from uvr.anchors.extract import MIN_COVERAGE, collect_from_images, patch_coverage
from uvr.profiles import PROFILES
from uvr.sample import Sample
from uvr.testbed.samples import labelled_samples

SIGMA = 0.4
RATE = 0.01  # of benign pictures that may reach the threshold
CAPTIONS = ("", "a picture")  # they say nothing
ANCHOR_SCENES, TEST_SCENES = 200, 150  # of each kind


@dataclass(frozen=True)
class Recall:
    """Objects found, of how many."""

    found: int
    n: int


def silenced(samples: Sequence[Sample]) -> list[Sample]:
    """The samples under captions that say nothing."""
    return [replace(s, prompt=CAPTIONS[i % len(CAPTIONS)]) for i, s in enumerate(samples)]


def recall_unsaid(pipe: Any, slug: str, seed: int) -> Recall:
    """How many objects of a stand-in concept are found when no caption names them.

    Args:
        pipe: The text-to-image testbed.
        slug: A key of `uvr.testbed.samples.CONCEPTS`.
        seed: Of the scenes; anchors and tested scenes come from different ones.
    """
    profile = replace(PROFILES["testbed-t2i"], sigma=SIGMA)
    anchor_set = collect_from_images(
        pipe, profile, *map(silenced, labelled_samples(slug, "t2i", seed, ANCHOR_SCENES)), seed=seed
    )
    scorer = fit_scorer(anchor_set)
    directions = [
        Direction(weight.astype(np.float64), float(offset))
        for weight, offset in zip(scorer.weights, scorer.offset, strict=True)
    ]
    shown, benign = map(silenced, labelled_samples(slug, "t2i", seed + 1, TEST_SCENES))
    scores = highest_scores(
        directions, capture_from_images(pipe, profile, [*shown, *benign], seed=seed + 1)
    )
    threshold = np.quantile(scores[len(shown) :].max(axis=1), 1 - RATE, method="higher")
    grid = (8, 8)
    covered = np.stack([patch_coverage(s.mask, grid) >= MIN_COVERAGE for s in shown])
    return Recall(found_objects(scores[: len(shown)], covered, float(threshold)), len(shown))


def found_objects(scores: NDArray[np.float64], covered: NDArray[np.bool_], threshold: float) -> int:
    """Pictures, (pictures, patches), in which a patch that the object covers scores above."""
    return int(((scores > threshold) & covered).any(axis=1).sum())
