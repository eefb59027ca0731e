"""Directions: the vectors that tell a concept's patches from others, fitted on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from concepts.prototypes import group_by_direction, row_blocks, weighted_mean

Array = NDArray[np.float32]


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
