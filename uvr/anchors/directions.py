"""Directions: the vectors that tell a concept's patches from others, fitted on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import Ints
from concepts.prototypes import group_by_direction, row_blocks, weighted_mean

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Direction:
    """A scoring vector, standardised: counter-anchors score 0 on average with deviation 1.

    Attributes:
        weight: (dim,).
        offset: Added to the product with it.
        part: Number of the part of the anchors that it was fitted on.
    """

    weight: NDArray[np.float64]
    offset: float
    part: int = 0

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
    parts: Ints | None = None,
    prototypes: int = 1,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    weights: NDArray[np.float64] | None = None,
) -> list[Direction]:
    """Fit vectors for each part of the anchors, one by default; see ``fit_direction``.

    Args:
        anchors: (n, dim).
        counters: (m, dim), m >= 2; all parts share them.
        parts: Number of each anchor's part, (n,); one part by default.
        prototypes: Fit up to so many in each part, for groups of anchors by the direction in which
            they differ from the mean counter-anchor.
        rule: See ``fit_direction``.
        shrinkage: See ``fit_direction``.
        weights: See ``fit_direction``.
    """
    if weights is None:
        weights = np.full(len(counters), 1 / len(counters))
    mean_counter = weighted_mean(counters, weights)
    if parts is None:
        parts = np.zeros(len(anchors), dtype=np.int32)
    means, part_of = [], []
    for part in np.unique(parts):
        own = anchors[parts == part]
        groups = [own]
        if prototypes > 1:
            groups = [own[rows] for rows in group_by_direction(own - mean_counter, prototypes)]
        means += [group.mean(axis=0, dtype=np.float64) for group in groups]
        part_of += [int(part)] * len(groups)
    vectors = _vectors(np.stack(means), counters, mean_counter, weights, rule, shrinkage)
    return [
        replace(_standardised(vector, counters, weights), part=part)
        for vector, part in zip(vectors, part_of, strict=True)
    ]


def _vectors(
    means: NDArray[np.float64],
    counters: Array,
    mean_counter: NDArray[np.float64],
    weights: NDArray[np.float64],
    rule: str,
    shrinkage: float,
) -> NDArray[np.float64]:
    """Vectors towards some means, both (groups, dim), by a rule."""
    if rule == "mean":
        return means
    if rule == "whitened":
        covariance = _covariance(counters, mean_counter, weights)
        ridge = shrinkage * float(np.trace(covariance)) / len(covariance)
        covariance[np.diag_indices_from(covariance)] += max(ridge, 1e-12)
        return np.ascontiguousarray(np.linalg.solve(covariance, (means - mean_counter).T).T)
    raise ValueError(f"unknown rule {rule!r}; expected 'whitened' or 'mean'")


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
