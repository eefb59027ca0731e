"""Exact scores: cosines in float64, summed in a fixed order, ties broken by position.

What FAISS finds are candidates. Its sums are in float32, or over compressed vectors, and depend
on the batch size; these do not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry.rows import Rows

BLOCK_BYTES = 64 << 20
"""About how much memory vectors take that are in work at one time, in float64."""

Positions = NDArray[np.int64]
Scores = NDArray[np.float64]


class Stack:
    """Rows of one or more sets, one below the other, numbered from 0."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self.starts = [0, *accumulate(len(part) for part in parts)]
        self.dim = int(self.parts[0].shape[1])

    def __len__(self) -> int:
        return self.starts[-1]

    def place(self, row: int) -> tuple[int, int]:
        """Return which part a row is in, and its position there."""
        part = bisect_right(self.starts, row) - 1
        return part, row - self.starts[part]

    def take(self, rows: Positions) -> NDArray[Any]:
        """Return rows by rising number, (n, dim)."""
        edges = np.searchsorted(rows, self.starts)
        found = [
            part[rows[low:high] - start]
            for part, start, low, high in zip(
                self.parts, self.starts, edges, edges[1:], strict=False
            )
            if low < high
        ]
        return np.concatenate(found)

    def blocks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the number of a first row and the rows from there, a bounded block at a time."""
        for part, start in zip(self.parts, self.starts, strict=False):
            for piece in _pieces(len(part), self.dim):
                yield start + piece.start, part[piece]


def unit_vectors(vectors: NDArray[Any]) -> NDArray[np.float64]:
    """Scale rows to length 1, (n, dim), float64; rows of zeros stay zeros."""
    exact = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(norms > 0, norms, 1.0)


def exact_scores(stack: Stack, rows: Positions, query: NDArray[np.float64]) -> Scores:
    """Return the cosine of each row to a unit query, (rows), whatever else is scored with it."""
    scores = np.empty(len(rows))
    for piece in _pieces(len(rows), len(query)):
        scores[piece] = (unit_vectors(stack.take(rows[piece])) * query).sum(axis=1)
    return np.clip(scores, -1.0, 1.0)


def best_rows(rows: Positions, scores: Scores, k: int) -> tuple[Positions, Scores]:
    """Return the k best of rising rows: by falling score, then by row."""
    best = np.argsort(-scores, kind="stable")[:k]
    return rows[best], scores[best]


def _pieces(count: int, dim: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (8 * dim))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
