"""Thresholds from held-out scores: conformal in form, with what they promise and what they reach.

Of n pictures without the concept, let k of the n + 1 ranks lie at or below a score. If one more
picture is like them, it scores higher with a probability of at most 1 - k / (n + 1). So the
threshold for a rate is just above the ceil((n + 1)(1 - rate))-th smallest of their highest scores,
and no rate below 1 / (n + 1) can be promised. (The scores are cross-fitted and not from a split,
for which theory promises twice the rate at worst; see "Cross-conformal" in docs/method.md.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import Ints
from concepts.calibration import Calibration, Share
from concepts.errors import InputError
from uvr.anchors.held_out import HeldOut, Scores, folds_of, highest_of_each
from uvr.anchors.kinds import NEAR_MISS

USUAL_RATE = 0.01
"""Share of pictures without the concept that may match, where nobody says another."""

NO_KINDS: Mapping[str, Sequence[int]] = MappingProxyType({})


@dataclass(frozen=True)
class Targets:
    """What thresholds are to keep.

    Attributes:
        image_rate: Pictures without the concept that may reach the seed threshold, 0 to 1.
        patch_rate: Their patches that may reach the grow threshold, 0 to 1.
        margin: Move both thresholds up by this share of the way, in [0, 1), to the median of the
            highest scores of the concept's pictures.
    """

    image_rate: float
    patch_rate: float
    margin: float = 0.0


@dataclass(frozen=True)
class Thresholds:
    """A patch with score >= seed starts a region; one with score >= grow beside it joins."""

    seed: float
    grow: float


def least_rate(pictures: int) -> float:
    """Smallest rate that so many pictures without the concept can promise."""
    return 1 / (pictures + 1)


def require_promise(rate: float, pictures: int) -> None:
    """Check that pictures without the concept are enough for a rate; InputError otherwise."""
    if rate >= least_rate(pictures):
        return
    needed = "no number of pictures is enough"
    if rate > 0:
        needed = f"{math.ceil(1 / rate - 1 - 1e-9):,} are needed"
    raise InputError(
        f"A rate of {rate:g} cannot be promised from {pictures} pictures without the concept: "
        f"{needed}. Give more of them, or ask for {math.ceil(1e4 * least_rate(pictures)) / 1e4:g}."
    )


def find_thresholds(held_out: HeldOut, targets: Targets) -> Thresholds:
    """Set both thresholds by the scores of pictures without the concept.

    The grow threshold is a quantile over patches, and never above the seed threshold. Patches of
    a picture are alike, so that it promises nothing.
    """
    numbers, _ = held_out.benign_peaks()
    return _thresholds(held_out, targets, numbers)


def measure(
    held_out: HeldOut,
    thresholds: Thresholds,
    targets: Targets,
    kinds: Mapping[str, Sequence[int]] = NO_KINDS,
    variants: Mapping[str, Sequence[int]] = NO_KINDS,
) -> Calibration:
    """Count what matches: the concept's pictures, and others by thresholds that they did not set.

    Args:
        held_out: Scores.
        thresholds: What ``find_thresholds`` set by all of them.
        targets: What it was given.
        kinds: Numbers of the pictures of each kind.
        variants: Numbers of the variants of each kind, which are told apart from all others.
    """
    pictures, shown = held_out.varied_peaks()
    numbers, peaks = held_out.benign_peaks()
    fold = folds_of(numbers)
    matched = 0
    for one in np.unique(fold):
        own = fold == one
        line = _thresholds(held_out, targets, numbers[~own]).seed
        matched += int((peaks[own] >= line).sum())
    found = shown >= thresholds.seed
    given = ~np.isin(pictures, held_out.variants)
    of_kind = {name: found[given & np.isin(pictures, chosen)] for name, chosen in kinds.items()}
    of_kind |= {f"{n} variants": found[np.isin(pictures, one)] for n, one in variants.items()}
    highest = numbers[np.argsort(peaks)[-max(3, len(peaks) // 20) :]]
    near_misses = kinds.get(NEAR_MISS)
    return Calibration(
        target=targets.image_rate,
        matched=Share(matched, len(peaks)),
        found=_share(found[given]),
        found_by_kind={name: _share(some) for name, some in of_kind.items() if len(some)},
        near_misses=None if near_misses is None else _share(np.isin(highest, near_misses)),
        ordinary=None if near_misses is None else int((~np.isin(numbers, near_misses)).sum()),
    )


def conformal_threshold(peaks: Scores, rate: float) -> float:
    """Just above the highest score that may be reached, of pictures without the concept, (n,).

    With fewer pictures than the rate needs it is just above all of them.
    """
    rank = math.ceil((len(peaks) + 1) * (1 - rate) - 1e-9)
    return _above(float(np.sort(peaks)[min(rank, len(peaks)) - 1]))


def _thresholds(held_out: HeldOut, targets: Targets, pictures: Ints) -> Thresholds:
    """Thresholds by some of the pictures without the concept, given by their numbers."""
    chosen = np.isin(held_out.counter_images, pictures)
    scores, images = held_out.counters[chosen], held_out.counter_images[chosen]
    grow = _above(float(np.quantile(scores, 1 - targets.patch_rate, method="higher")))
    peaks = highest_of_each(scores, images)
    seed = max(conformal_threshold(peaks, targets.image_rate), grow)
    usual = float(np.median(held_out.shown_peaks()[1]))
    seed, grow = (line + targets.margin * max(0.0, usual - line) for line in (seed, grow))
    return Thresholds(seed, grow)


def _share(hits: NDArray[np.bool_]) -> Share:
    return Share(int(hits.sum()), len(hits))


def _above(score: float) -> float:
    """The next higher float32, which a score must reach to match."""
    return float(np.nextafter(np.float32(score), np.float32(np.inf)))
