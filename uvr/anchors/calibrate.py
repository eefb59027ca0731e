"""From anchors to a scorer: whitened vectors, usually one, and thresholds at target error rates.

Thresholds are measured by cross-fitting: the pictures of each fold are scored by the direction that
was fitted on the others, so that no threshold comes from patches which fitted its direction. With
two folds a direction knows half of the pictures only, and its thresholds come out too high.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import AnchorSet
from concepts.errors import UVRError
from concepts.prototypes import (
    WITHIN_SHARE,
    balanced_weights,
    group_by_direction,
    row_blocks,
    weighted_mean,
)
from concepts.scorer import Scorer
from uvr.conditions import conditions_of

Array = NDArray[np.float32]

FOLDS = 5
"""Parts into which pictures are dealt for cross-fitting."""


@dataclass(frozen=True)
class Direction:
    """A scoring vector, standardised: counter-anchors score 0 on average with deviation 1."""

    weight: NDArray[np.float64]
    offset: float

    def scores(self, features: Array) -> NDArray[np.float64]:
        """Score features, (..., dim)."""
        return _product(features, self.weight) + self.offset


def fit_direction(
    anchors: Array,
    counters: Array,
    *,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    weights: NDArray[np.float64] | None = None,
) -> Direction:
    """Fit the vector that tells anchors from counter-anchors.

    Args:
        anchors: (n, dim).
        counters: (m, dim), m >= 2.
        rule: "whitened", ``(cov + lambda I)^-1 (mean anchor - mean counter-anchor)`` with lambda =
            ``shrinkage`` times the mean variance; or "mean", the mean anchor (the reference's).
        shrinkage: See ``rule``.
        weights: Weight of each counter-anchor, (m,), summing to 1; equal by default.
    """
    return fit_directions(anchors, counters, rule=rule, shrinkage=shrinkage, weights=weights)[0]


def fit_directions(
    anchors: Array,
    counters: Array,
    *,
    prototypes: int = 1,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    weights: NDArray[np.float64] | None = None,
) -> list[Direction]:
    """Fit one vector for each of at most ``prototypes`` groups of anchors; see ``fit_direction``.

    Groups are by the direction in which anchors differ from the mean counter-anchor.
    """
    if weights is None:
        weights = np.full(len(counters), 1 / len(counters))
    mean_counter = weighted_mean(counters, weights)
    groups = [anchors]
    if prototypes > 1:
        groups = [anchors[rows] for rows in group_by_direction(anchors - mean_counter, prototypes)]
    means = np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])
    if rule == "mean":
        vectors = means
    elif rule == "whitened":
        covariance = _covariance(counters, mean_counter, weights)
        ridge = shrinkage * float(np.trace(covariance)) / len(covariance)
        covariance[np.diag_indices_from(covariance)] += max(ridge, 1e-12)
        vectors = np.linalg.solve(covariance, (means - mean_counter).T).T
    else:
        raise ValueError(f"unknown rule {rule!r}; expected 'whitened' or 'mean'")
    return [_standardised(np.ascontiguousarray(weight), counters, weights) for weight in vectors]


def _standardised(
    weight: NDArray[np.float64], counters: Array, weights: NDArray[np.float64]
) -> Direction:
    raw = _product(counters, weight)
    centre = float(weights @ raw)
    spread = max(float(np.sqrt(weights @ (raw - centre) ** 2)), 1e-12)
    return Direction(weight / spread, -centre / spread)


def highest_scores(directions: Sequence[Direction], features: Array) -> NDArray[np.float64]:
    """Score features, (..., dim), by the direction that each suits best."""
    best = directions[0].scores(features)
    for direction in directions[1:]:
        best = np.maximum(best, direction.scores(features))
    return best


def _product(features: Array, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of each vector with a weight in float64, (..., dim) to (...)."""
    flat = features.reshape(-1, features.shape[-1])
    products = np.empty(len(flat))
    for rows, block in row_blocks(flat):
        products[rows] = block @ weight
    return products.reshape(features.shape[:-1])


def _covariance(
    features: Array, mean: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = np.zeros((features.shape[1], features.shape[1]))
    for rows, block in row_blocks(features):
        block -= mean
        total += (block * weights[rows, None]).T @ block
    return total


def fit_scorer(
    anchor_set: AnchorSet,
    *,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    image_false_positive_rate: float = 0.01,
    patch_false_positive_rate: float = 0.02,
    within_share: float = WITHIN_SHARE,
    margin: float = 0.0,
    prototypes: int = 1,
) -> Scorer:
    """Fit a concept's scorer and set its thresholds at target false-positive rates.

    The seed threshold is a quantile, over counter pictures that hold no anchor, of each picture's
    highest patch score: about ``image_false_positive_rate`` of benign pictures reach it. The grow
    threshold is a quantile over their patches. With fewer pictures than the rate can resolve, the
    highest score seen is the threshold; the metadata says how many there were.

    Args:
        anchor_set: Anchors and counter-anchors of one space.
        rule: See ``fit_direction``.
        shrinkage: See ``fit_direction``.
        image_false_positive_rate: Benign pictures that may reach the seed threshold.
        patch_false_positive_rate: Their patches that may reach the grow threshold.
        within_share: See ``balanced_weights``.
        margin: Move both thresholds up by this share of the way, in [0, 1), to the median of the
            highest scores of the concept's pictures. Where a concept is found with room to spare,
            this costs little recall and keeps its neighbours from matching.
        prototypes: Fit up to so many vectors, each for anchors that are alike; a patch scores as
            the best of them says.

    Raises:
        UVRError: No anchors, or fewer than two counter pictures without anchors.
    """
    anchors, counters = anchor_set.anchors, anchor_set.counter_anchors
    benign = ~np.isin(anchor_set.counter_images, anchor_set.anchor_images)
    pictures = np.unique(anchor_set.counter_images[benign])
    if len(anchors) == 0 or len(pictures) < 2:
        raise UVRError(
            f"Cannot calibrate from {len(anchors)} anchors and {len(pictures)} benign pictures; "
            "at least one anchor and two pictures without the concept are needed."
        )
    held_out = held_out_scores(anchor_set, rule, shrinkage, within_share, prototypes)
    peaks = highest_of_each(held_out.anchors, anchor_set.anchor_images)
    seed, grow = _thresholds(
        held_out.counters[benign],
        anchor_set.counter_images[benign],
        (image_false_positive_rate, patch_false_positive_rate),
        margin,
        usual=float(np.median(peaks)),
    )
    directions = fit_directions(
        anchors,
        counters,
        prototypes=prototypes,
        rule=rule,
        shrinkage=shrinkage,
        weights=balanced_weights(~benign, within_share),
    )
    metadata: dict[str, Any] = {
        "shrinkage": shrinkage,
        "within_share": within_share,
        "image_false_positive_rate": image_false_positive_rate,
        "patch_false_positive_rate": patch_false_positive_rate,
        "margin": margin,
        "benign_pictures": len(pictures),
        "concept_pictures": len(peaks),
        "held_out_recall": round(float((peaks >= seed).mean()), 4),
    }
    if prototypes > 1:
        metadata["prototypes"] = len(directions)
    if conditions := conditions_of(anchor_set.provenance):
        metadata["conditions"] = conditions
    return Scorer(
        rule=rule,
        weights=np.stack([direction.weight for direction in directions]).astype(np.float32),
        offset=np.array([direction.offset for direction in directions], dtype=np.float32),
        seed_threshold=seed,
        grow_threshold=grow,
        metadata=metadata,
    )


def _thresholds(
    scores: NDArray[np.float64],
    images: NDArray[np.int32],
    rates: tuple[float, float],
    margin: float,
    *,
    usual: float,
) -> tuple[float, float]:
    """Seed and grow threshold from benign scores, their pictures, and ``fit_scorer``'s numbers."""
    grow = _upper_quantile(scores, rates[1])
    seed = max(_upper_quantile(highest_of_each(scores, images), rates[0]), grow)
    raised = [line + margin * max(0.0, usual - line) for line in (seed, grow)]
    return raised[0], raised[1]


@dataclass(frozen=True)
class HeldOut:
    """Scores of anchors, (n,), and counter-anchors, (m,), by directions of the other half."""

    anchors: NDArray[np.float64]
    counters: NDArray[np.float64]


def held_out_scores(
    anchor_set: AnchorSet,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    within_share: float = WITHIN_SHARE,
    prototypes: int = 1,
) -> HeldOut:
    """Score each fold of the pictures with directions fitted on the other folds.

    The arguments are those of ``fit_scorer``.
    """
    anchor_fold = _folds(anchor_set.anchor_images)
    # A picture that holds the concept keeps its counter-anchors in its anchors' fold.
    counter_fold = _folds(anchor_set.counter_images, anchor_set.anchor_images)
    within = np.isin(anchor_set.counter_images, anchor_set.anchor_images)
    anchor_scores = np.zeros(len(anchor_fold))
    counter_scores = np.zeros(len(counter_fold))
    for fold in np.unique(np.concatenate([anchor_fold, counter_fold])):
        fit_anchors = anchor_set.anchors[anchor_fold != fold]
        fit_counters = anchor_set.counter_anchors[counter_fold != fold]
        if len(fit_anchors) == 0:  # all anchors come from one picture
            fit_anchors = anchor_set.anchors
        directions = fit_directions(
            fit_anchors,
            fit_counters,
            prototypes=prototypes,
            rule=rule,
            shrinkage=shrinkage,
            weights=balanced_weights(within[counter_fold != fold], within_share),
        )
        anchor_scores[anchor_fold == fold] = highest_scores(
            directions, anchor_set.anchors[anchor_fold == fold]
        )
        counter_scores[counter_fold == fold] = highest_scores(
            directions, anchor_set.counter_anchors[counter_fold == fold]
        )
    return HeldOut(anchor_scores, counter_scores)


def _folds(images: NDArray[np.int32], known: NDArray[np.int32] | None = None) -> NDArray[np.int64]:
    """Deal pictures to folds in turn, in order of their numbers; those of ``known`` first."""
    fold: dict[int, int] = {}
    for group in (known, images):
        if group is not None:
            fresh = [int(image) for image in np.unique(group) if int(image) not in fold]
            fold |= {image: place % FOLDS for place, image in enumerate(fresh)}
    return np.array([fold[int(image)] for image in images])


def highest_of_each(scores: NDArray[np.float64], images: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return each picture's highest score, in the order of their numbers."""
    _, inverse = np.unique(images, return_inverse=True)
    highest = np.full(int(inverse.max()) + 1, -np.inf)
    np.maximum.at(highest, inverse, scores)
    return highest


def _upper_quantile(scores: NDArray[np.float64], rate: float) -> float:
    """Smallest step above a score that at most ``rate`` of the scores reach."""
    quantile = float(np.quantile(scores, 1 - rate, method="higher"))
    return float(np.nextafter(np.float32(quantile), np.float32(np.inf)))
