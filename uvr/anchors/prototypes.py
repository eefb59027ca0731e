"""Prototypes: anchors grouped by direction, for concepts that look like several things."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_ROUNDS = 25

Labels = NDArray[np.int64]


def group_by_direction(vectors: NDArray[Any], count: int, seed: int = 0) -> list[Labels]:
    """Group vectors, (n, dim), by spherical k-means; the same input gives the same groups.

    Returns:
        Positions of the vectors of each group, rising; at most ``count`` groups, none empty.
    """
    units = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    centres = units[_spread(units, min(count, len(units)), seed)]
    labels = np.full(len(units), -1)
    for _ in range(_ROUNDS):
        before, labels = labels, np.argmax(units @ centres.T, axis=1)
        if np.array_equal(before, labels):
            break
        sums = np.stack([units[rows].sum(axis=0) for rows in _groups(labels)])
        centres = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return _groups(labels)


def _groups(labels: Labels) -> list[Labels]:
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]


def _spread(units: NDArray[Any], count: int, seed: int) -> list[int]:
    """Choose first centres far from each other, as k-means++ does."""
    random = np.random.default_rng(seed)
    chosen = [int(random.integers(len(units)))]
    gap = np.full(len(units), np.inf)
    while len(chosen) < count:
        gap = np.minimum(gap, np.maximum(1 - units @ units[chosen[-1]], 0.0).astype(np.float64))
        gap[chosen] = 0.0
        if gap.sum() <= 0:  # All that are left repeat a chosen one.
            break
        chosen.append(int(random.choice(len(units), p=gap / gap.sum())))
    return chosen
