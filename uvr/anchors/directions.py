"""Directions: the vectors that tell a concept's patches from others, fitted on both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from concepts.prototypes import Rows, group_by_direction, row_blocks, weighted_mean
from uvr.anchors.logistic import Others, logistic_vector

Array = NDArray[np.float32]
Vectors = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Part:
    """Anchors that have directions of their own.

    Attributes:
        anchors: Which anchors, (n,), bool; an anchor may be of several parts.
        columns: The features that the directions read; they are zero elsewhere.
    """

    anchors: NDArray[np.bool_]
    columns: slice = field(default_factory=lambda: slice(None))

    def reads(self, features: Array) -> NDArray[np.bool_]:
        """Which rows of features, (n, dim), have any that the part reads.

        Where an editing model was given no picture, zeros stand for the features of one.
        """
        return np.asarray(features[:, self.columns].any(axis=1))


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

    def scores(self, features: Rows) -> NDArray[np.float64]:
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
            ``shrinkage`` times the mean variance; "logistic", the logistic regression that tells
            them apart (``uvr.anchors.logistic``); or "mean", the mean anchor (the reference's).
        shrinkage: See ``rule``.
        weights: Weight of each counter-anchor, (m,), summing to 1; equal by default.
    """
    return fit_directions(anchors, counters, rule=rule, shrinkage=shrinkage, weights=weights)[0]


def fit_whitened(
    anchors: Rows,
    counters: Rows,
    *,
    shrinkage: float = 0.1,
    weights: NDArray[np.float64] | None = None,
) -> Direction:
    """Fit what ``fit_direction`` does by its rule "whitened", to the bit, a block at a time.

    Neither anchors nor counter-anchors need fit into memory; see ``fit_direction`` for the rest.
    """
    if weights is None:
        weights = np.full(len(counters), 1 / len(counters))
    mean = weighted_mean(counters, weights)
    covariance = _covariance(counters, mean, weights)
    (vector,) = _whiten(_plain_mean(anchors)[None] - mean, covariance, shrinkage)
    return _standardised(vector, counters, weights)


def fit_directions(
    anchors: Array,
    counters: Array,
    *,
    parts: Sequence[Part] = (),
    prototypes: int = 1,
    rule: str = "whitened",
    shrinkage: float = 0.1,
    weights: NDArray[np.float64] | None = None,
) -> list[Direction]:
    """Fit vectors for each part of the anchors, by default one of all; see ``fit_direction``.

    Args:
        anchors: (n, dim).
        counters: (m, dim), m >= 2; all parts share them.
        parts: Which anchors, and by which features.
        prototypes: Fit up to so many in each part, for groups of anchors by the direction in which
            they differ from the mean counter-anchor.
        rule: See ``fit_direction``.
        shrinkage: See ``fit_direction``.
        weights: See ``fit_direction``.
    """
    if rule not in _FITS:
        raise ValueError(f"unknown rule {rule!r}; expected one of {', '.join(_FITS)}")
    if weights is None:
        weights = np.full(len(counters), 1 / len(counters))
    directions = []
    for number, part in enumerate(parts or [Part(np.ones(len(anchors), dtype=bool))]):
        read, rows = part.columns, part.reads(counters)
        known, share = counters, weights
        if not rows.all():
            known, share = counters[rows], weights[rows] / weights[rows].sum()
        others = Others(known[:, read], weighted_mean(known, share)[read], share)
        own = anchors[part.anchors & part.reads(anchors)][:, read]
        groups = [own]
        if prototypes > 1:
            groups = [own[rows] for rows in group_by_direction(own - others.mean, prototypes)]
        for vector in _FITS[rule](groups, others, shrinkage):
            weight = np.zeros(counters.shape[1])
            weight[read] = vector
            directions.append(replace(_standardised(weight, known, share), part=number))
    return directions


def _mean_vectors(groups: Sequence[Array], others: Others, shrinkage: float) -> Vectors:
    del others, shrinkage
    return np.stack([group.mean(axis=0, dtype=np.float64) for group in groups])


def _whitened_vectors(groups: Sequence[Array], others: Others, shrinkage: float) -> Vectors:
    covariance = _covariance(others.features, others.mean, others.weights)
    return _whiten(_mean_vectors(groups, others, shrinkage) - others.mean, covariance, shrinkage)


def _whiten(apart: Vectors, covariance: Vectors, shrinkage: float) -> Vectors:
    """Solve ``(covariance + ridge) x = apart`` for each row of ``apart``, (n, dim)."""
    ridge = shrinkage * float(np.trace(covariance)) / len(covariance)
    covariance[np.diag_indices_from(covariance)] += max(ridge, 1e-12)
    return np.ascontiguousarray(np.linalg.solve(covariance, apart.T).T)


def _logistic_vectors(groups: Sequence[Array], others: Others, shrinkage: float) -> Vectors:
    return np.stack([logistic_vector(group, others, shrinkage) for group in groups])


_FITS = {"mean": _mean_vectors, "whitened": _whitened_vectors, "logistic": _logistic_vectors}


def _standardised(
    weight: NDArray[np.float64], counters: Rows, weights: NDArray[np.float64]
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


def _product(features: Rows, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Product of each vector with a weight in float64, (..., dim) to (...)."""
    flat = features
    if isinstance(features, np.ndarray):
        flat = features.reshape(-1, features.shape[-1])
    products = np.empty(len(flat))
    for rows, block in row_blocks(flat):
        products[rows] = block @ weight
    return products.reshape(features.shape[:-1])


def _plain_mean(features: Rows) -> NDArray[np.float64]:
    """Mean of rows, added one after the other as numpy's mean over an array of them does."""
    total = np.zeros(features.shape[1])
    for _, block in row_blocks(features):
        total = np.concatenate([total[None], block]).sum(axis=0)
    mean: NDArray[np.float64] = total / len(features)
    return mean


def _covariance(
    features: Rows, mean: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    total = np.zeros((features.shape[1], features.shape[1]))
    for rows, block in row_blocks(features):
        block -= mean
        total += (block * weights[rows, None]).T @ block
    return total
