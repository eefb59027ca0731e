"""Prototypes: anchors grouped by direction, for concepts that look like several things.

A scorer has one vector for each group. Groups are by the direction in which anchors differ from
the mean counter-anchor; those of a listing are therefore those that a scorer is fitted with.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import AnchorSet

WITHIN_SHARE = 0.5
"""What counter-anchors from pictures of the concept count for, where nothing else is said."""
_ROUNDS = 25
_BLOCK_ROWS = 8192

Labels = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Prototype:
    """Anchors that look alike.

    Attributes:
        rows: Positions of its anchors in their set, rising, (n,), n >= 1.
        nearest: Position of the anchor whose direction is nearest to the group's.
    """

    rows: Labels
    nearest: int


def prototypes(
    anchor_set: AnchorSet, count: int, *, within_share: float = WITHIN_SHARE, seed: int = 0
) -> list[Prototype]:
    """Group the anchors of a set as the fit of a scorer with ``count`` prototypes does.

    Args:
        anchor_set: Anchors and counter-anchors of one space.
        count: The most groups, from 1.
        within_share: See ``balanced_weights``.
        seed: Of the first centres; a scorer's is 0.

    Returns:
        The largest first; none is empty.
    """
    within = np.isin(anchor_set.counter_images, anchor_set.anchor_images)
    weights = balanced_weights(within, within_share)
    vectors = anchor_set.anchors - weighted_mean(anchor_set.counter_anchors, weights)
    units = _units(vectors)
    groups = sorted(group_by_direction(vectors, count, seed), key=len, reverse=True)
    centres = [units[rows].sum(axis=0) for rows in groups]
    return [
        Prototype(rows, int(rows[np.argmax(units[rows] @ centre)]))
        for rows, centre in zip(groups, centres, strict=True)
    ]


def group_by_direction(vectors: NDArray[Any], count: int, seed: int = 0) -> list[Labels]:
    """Group vectors, (n, dim), by spherical k-means; the same input gives the same groups.

    Returns:
        Positions of the vectors of each group, rising; at most ``count`` groups, none empty.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more, not {count}")
    units = _units(vectors)
    centres = units[_spread(units, min(count, len(units)), seed)]
    labels = np.full(len(units), -1)
    for _ in range(_ROUNDS):
        before, labels = labels, np.argmax(units @ centres.T, axis=1)
        if np.array_equal(before, labels):
            break
        centres = _units(np.stack([units[rows].sum(axis=0) for rows in _groups(labels)]))
    return _groups(labels)


def balanced_weights(within: NDArray[np.bool_], share: float = WITHIN_SHARE) -> NDArray[np.float64]:
    """Weigh counter-anchors so that those from pictures of the concept count for ``share``.

    Every patch of a picture knows a little of what else is in it. Counter-anchors from the same
    pictures as the anchors, usually few, are what makes a direction say *where* a concept is and
    not only *that* it is there.

    Args:
        within: Whether a counter-anchor is from a picture of the concept, (m,).
        share: From 0 to 1.

    Returns:
        One weight for each counter-anchor, (m,), summing to 1.
    """
    inside, outside = int(within.sum()), int((~within).sum())
    if inside == 0 or outside == 0:
        return np.full(len(within), 1 / max(len(within), 1))
    return np.where(within, share / inside, (1 - share) / outside)


class Rows(Protocol):
    """Vectors, (n, dim), of which slices are taken: an array, or what reads them from a disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of rows and of features."""
        ...

    def __len__(self) -> int:
        """Number of rows."""
        ...

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        """Some of the rows."""
        ...


def weighted_mean(features: Rows, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of features, (m, dim), by weights that sum to 1, (m,); zeros where there is none."""
    mean = np.zeros(features.shape[1])
    for rows, block in row_blocks(features):
        mean += weights[rows] @ block
    return mean


def row_blocks(features: Rows) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows in float64, a block at a time: a million patches of 3,072 numbers fit in memory once.

    A block is the caller's until it asks for the next, which takes its place: new memory for each
    costs more than what is computed in it.
    """
    memory = np.empty((min(_BLOCK_ROWS, len(features)), features.shape[1]))
    for start in range(0, len(features), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        part = features[rows]
        block = memory[: len(part)]
        block[:] = part
        yield rows, block


def _units(vectors: NDArray[Any]) -> NDArray[Any]:
    units: NDArray[Any] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12
    )
    return units


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
