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

from registry.vectors.rows import Rows

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
        pieces = [
            part[rows[low:high] - start]
            for part, start, low, high in zip(
                self.parts, self.starts, edges, edges[1:], strict=False
            )
            if low < high
        ]
        return np.concatenate(pieces)

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


def nearest(stack: Stack, queries: NDArray[np.float64], k: int) -> list[tuple[Positions, Scores]]:
    """Return the k best rows and their cosines for each unit query, by comparing with every row.

    Rows are read once for all queries. A block's rows are compared in one matrix product, and those
    among which its k best must be are scored exactly.
    """
    best: list[tuple[Positions, Scores]] = [(np.empty(0, np.int64), np.empty(0))] * len(queries)
    # A float64 sum of d products of unit vectors errs by less than d roundings; four sums meet.
    slack = (stack.dim + 8) * 2.0**-51
    for start, block in stack.blocks():
        units = unit_vectors(block)
        for number, about in enumerate(queries @ units.T):
            limit = np.partition(about, -k)[-k] if k < len(about) else -np.inf
            if len(best[number][0]) == k:
                limit = max(limit, best[number][1][-1])
            near = np.flatnonzero(about >= limit - slack)
            if not near.size:
                continue
            scores = np.clip((units[near] * queries[number]).sum(axis=1), -1.0, 1.0)
            rows = np.concatenate([best[number][0], start + near])
            # Kept rows come first: a stable sort ranks equal scores by row, as they are earlier.
            best[number] = best_rows(rows, np.concatenate([best[number][1], scores]), k)
    return best


def best_rows(rows: Positions, scores: Scores, k: int) -> tuple[Positions, Scores]:
    """Return the k best of rows: by falling score, equal ones in the order given."""
    best = np.argsort(-scores, kind="stable")[:k]
    return rows[best], scores[best]


def _pieces(count: int, dim: int) -> Iterator[slice]:
    step = max(1, BLOCK_BYTES // (8 * dim))
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
