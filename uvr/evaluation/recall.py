"""How well features tell a concept from the picture alone, under captions that say nothing.

`python -m uvr.evaluation.recall --sigma 0.95 0.6` tells it by noise level, beside captions that
name the thing.

1. Anchors of a concept are collected from labelled scenes whose captions name no thing, at a late
   noise level, with the engine's own taps, extraction and scorer.
2. Other scenes with the concept are scored. An object is found when a patch that it covers scores
   at or above the score that 1% of benign pictures reach.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvr.anchors.calibration import fit_scorer
from uvr.anchors.capturing import capture_from_images
from uvr.anchors.directions import Direction, highest_scores
from uvr.anchors.extract import MIN_COVERAGE, collect_from_images, patch_coverage
from uvr.profiles import PROFILES
from uvr.sample import Sample
from uvr.testbed import load_testbed
from uvr.testbed.samples import CONCEPTS, labelled_samples

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
    """How many objects of a stand-in concept are found when no caption names them, at ``SIGMA``."""
    return recall_at(pipe, slug, seed, SIGMA, silenced)


def recall_at(
    pipe: Any,
    slug: str,
    seed: int,
    sigma: float,
    captioned: Callable[[Sequence[Sample]], Sequence[Sample]],
) -> Recall:
    """How many objects of a stand-in concept are found at a noise level.

    Args:
        pipe: The text-to-image testbed.
        slug: A key of `uvr.testbed.samples.CONCEPTS`.
        seed: Of the scenes; anchors and tested scenes come from different ones.
        sigma: The noise level of both.
        captioned: Gives samples the captions that they are looked at under.
    """
    profile = replace(PROFILES["testbed-t2i"], sigma=sigma)
    scenes = labelled_samples(slug, "t2i", seed, ANCHOR_SCENES)
    anchor_set = collect_from_images(pipe, profile, *map(captioned, scenes), seed=seed)
    scorer = fit_scorer(anchor_set)
    directions = [
        Direction(weight.astype(np.float64), float(offset))
        for weight, offset in zip(scorer.weights, scorer.offset, strict=True)
    ]
    shown, benign = map(captioned, labelled_samples(slug, "t2i", seed + 1, TEST_SCENES))
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


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a row for each concept, noise level and kind of caption."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sigma", type=float, nargs="+", default=[SIGMA], help="noise levels")
    parser.add_argument("--seed", type=int, default=31)
    options = parser.parse_args(arguments)
    pipe = load_testbed("t2i")
    for slug in CONCEPTS:
        for sigma in options.sigma:
            for kind, captioned in (("said", list), ("unsaid", silenced)):
                row = recall_at(pipe, slug, options.seed, sigma, captioned)
                share = f"{row.found:4} of {row.n:4}  {row.found / row.n:.2f}"
                print(f"{slug:23} {sigma:.2f} {kind:6} {share}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
