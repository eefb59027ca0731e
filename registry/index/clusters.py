"""Prototypes: a few directions that stand for many anchors, by spherical k-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from registry.vectors.exact import unit_vectors

_ROUNDS = 25


@dataclass(frozen=True, eq=False)
class Clusters:
    """Groups of vectors, the largest first.

    Attributes:
        centres: Unit vectors, (k, dim), float32.
        sizes: How many vectors each has, (k,).
        nearest: The vector nearest to each centre, by position, (k,).
        labels: The cluster of each vector, (n,).
    """

    centres: NDArray[np.float32]
    sizes: NDArray[np.int64]
    nearest: NDArray[np.int64]
    labels: NDArray[np.int64]


def prototypes(vectors: NDArray[Any], k: int, seed: int = 0) -> Clusters:
    """Group vectors, (n, dim), by direction into at most k clusters; none is empty.

    The same vectors, k and seed give the same clusters.
    """
    if not 1 <= k <= len(vectors):
        raise ValueError(f"k must be from 1 to the number of vectors, {len(vectors)}, not {k}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold NaN or infinity")
    units = unit_vectors(vectors)
    narrow = np.ascontiguousarray(units, dtype=np.float32)
    means = faiss.Kmeans(
        narrow.shape[1], k, niter=_ROUNDS, seed=seed, spherical=True,
        min_points_per_centroid=1, max_points_per_centroid=len(narrow),
    )  # fmt: skip
    means.train(narrow)
    # FAISS's centres carry the rounding of its threads; the means of the members do not.
    _, raw = np.unique(means.index.search(narrow, 1)[1][:, 0], return_inverse=True)
    sizes = np.bincount(raw)
    order = np.argsort(-sizes, kind="stable")
    labels = np.argsort(order, kind="stable")[raw]
    groups = [np.flatnonzero(labels == label) for label in range(len(sizes))]
    centres = unit_vectors(np.stack([units[rows].mean(axis=0) for rows in groups]))
    nearest = [
        int(rows[np.argmax((units[rows] * centre).sum(axis=1))])
        for rows, centre in zip(groups, centres, strict=True)
    ]
    return Clusters(centres.astype(np.float32), sizes[order], np.array(nearest), labels)
