"""Build the FAISS index of one anchor space, and measure what it finds.

1. Take fixed samples of the vectors, to train with and to make queries near them; as many queries
   lie far from all.
2. Pass over all vectors once: add them, and keep each query's true neighbours.
3. Search for the queries, harder each time, until recall meets the gate for the near and for the
   far ones; where no effort does, build the next more exact kind.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from concepts.errors import GateError
from registry.index import kinds
from registry.vectors.exact import Stack, best_rows, exact_scores, unit_vectors

NEIGHBOURS = 10
GATE = 0.99
GROUPS = 2  # of queries: far from every anchor, and near some
QUERIES = 64
"""In each group."""
NOISE = 0.5
"""Length of the noise that is added to a unit vector to make a query near it."""

# FAISS ranks in float32 or coarser: some more than asked for are taken, scored again exactly, and
# cut to k.
SPARE = 32

Found = tuple[NDArray[np.int64], NDArray[np.float64]]


@dataclass(frozen=True)
class IndexBuild:
    """What was built, and how well it finds.

    Attributes:
        kind: See ``registry.index.kinds``.
        vectors: How many.
        dim: Their size.
        effort: How hard it is searched.
        slack: How far a score by FAISS can lie from the true cosine; None without a bound.
        recall: Share of the true ten nearest that a search returned, for the group of queries for
            which it is less.
        queries: How many queries that was measured with.
        seconds: What building took, measuring included.
        faiss: FAISS's release.
    """

    kind: str
    vectors: int
    dim: int
    effort: Mapping[str, int]
    slack: float | None
    recall: float
    queries: int
    seconds: float
    faiss: str

    def __post_init__(self) -> None:
        if self.effort not in kinds.EFFORTS.get(self.kind, ()):
            raise ValueError(f"kind {self.kind!r} is not searched with {self.effort!r}")
        if (self.slack is not None) != (self.kind in kinds.EXACT):
            raise ValueError(f"kind {self.kind!r} has slack {self.slack!r}")

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Finder:
    """A FAISS index with the vectors that it was built from, searched at one effort."""

    faiss: Any
    stack: Stack
    effort: Mapping[str, int]
    slack: float | None

    def search(self, units: NDArray[np.float64], k: int) -> list[Found]:
        """Return the k best rows and their cosines for each unit query, best first, then by row.

        With a bound on FAISS's errors, every row that can reach the k-th is compared: the result is
        that of comparing with all.
        """
        if not len(units):
            return []
        narrow = units.astype(np.float32)
        best_hits = []
        scores, rows = self._candidates(narrow, min(k + SPARE, len(self.stack)))
        for query, about, near in zip(units, scores, rows, strict=True):
            near = np.sort(near[near >= 0])
            best = best_rows(near, exact_scores(self.stack, near, query), k)
            if self.slack is not None and len(near) < len(self.stack):
                kth = float(best[1][-1])
                if kth <= about[-1] + self.slack:
                    best = self._with_all_above(kth - self.slack, query, near, best, k)
            best_hits.append(best)
        return best_hits

    def _with_all_above(
        self, score: float, query: NDArray[np.float64], seen: NDArray[np.int64], best: Found, k: int
    ) -> Found:
        """Return the k best of those found and of all rows to which FAISS gives a score or more."""
        # FAISS returns what lies strictly above a limit. Rows seen before are not scored again.
        limit = np.nextafter(np.float32(score), np.float32(-np.inf))
        _, _, rows = self.faiss.range_search(query[None].astype(np.float32), float(limit))
        new = np.setdiff1d(rows, seen)
        both = np.concatenate([best[0], new])
        scores = np.concatenate([best[1], exact_scores(self.stack, new, query)])
        order = np.argsort(both)
        return best_rows(both[order], scores[order], k)

    def _candidates(
        self, queries: NDArray[np.float32], count: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        parameters = kinds.search_parameters(self.effort)
        # Without a bound to check them by, candidates must not depend on the rest of a batch.
        size = 1 if self.slack is None else len(queries)
        parts = [
            self.faiss.search(queries[start : start + size], count, params=parameters)
            for start in range(0, len(queries), size)
        ]
        scores, rows = zip(*parts, strict=True)
        return np.concatenate(scores), np.concatenate(rows)


def build(stack: Stack, kind: str | None = None) -> tuple[Any, IndexBuild]:
    """Return a FAISS index of the unit vectors of all rows, and what it is.

    Args:
        stack: At least one row.
        kind: One of ``kinds.KINDS``; by default the one for their number.

    Raises:
        GateError: If the kind asked for cannot find enough of the true neighbours.
        ValueError: If a vector holds NaN or infinity.
    """
    start = time.perf_counter()
    chosen = kind or kinds.kind_for(len(stack))
    while True:
        finder, oracle = _fill(stack, chosen)
        recall, effort = _tune(finder, oracle, kinds.EFFORTS[chosen])
        if recall >= GATE:
            seconds = round(time.perf_counter() - start, 3)
            about = IndexBuild(
                chosen, len(stack), finder.faiss.d, effort, finder.slack, round(recall, 6),
                len(oracle.queries), seconds, faiss.__version__,
            )  # fmt: skip
            return finder.faiss, about
        fallback = kinds.more_exact(chosen)
        if kind is not None or fallback is None:
            raise GateError(
                f"An index of kind '{chosen}' found {recall:.1%} of the nearest anchors, at least "
                f"{GATE:.0%} are expected. Let the kind be chosen, or ask for a more exact one."
            )
        del finder  # The next one may be as large.
        chosen = fallback


@dataclass
class _Oracle:
    """The true nearest rows of some queries, kept while the rows pass by."""

    queries: NDArray[np.float64]
    count: int

    def __post_init__(self) -> None:
        self._narrow = self.queries.astype(np.float32)
        self.scores = np.full((len(self.queries), 0), 0, np.float32)
        self.rows = np.zeros((len(self.queries), 0), np.int64)

    def see(self, start: int, units: NDArray[np.float32]) -> None:
        kept = min(self.count + SPARE, len(units))
        scores, rows = faiss.knn(self._narrow, units, kept, metric=faiss.METRIC_INNER_PRODUCT)
        scores = np.concatenate([self.scores, scores], axis=1)
        rows = np.concatenate([self.rows, rows + start], axis=1)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.count + SPARE]
        self.scores = np.take_along_axis(scores, best, axis=1)
        self.rows = np.take_along_axis(rows, best, axis=1)

    def worst(self, stack: Stack) -> list[float]:
        """Return the exact score of each query's last true neighbour."""
        scored = [
            best_rows(rows, exact_scores(stack, rows, query), self.count)[1]
            for query, rows in zip(self.queries, np.sort(self.rows, axis=1), strict=True)
        ]
        return [float(scores[-1]) for scores in scored]


def _fill(stack: Stack, kind: str) -> tuple[Finder, _Oracle]:
    """Build one kind; the effort is still to be chosen."""
    count = len(stack)
    dim = stack.dim
    training = _units(stack.take(_evenly(count, max(1, kinds.training_rows(kind, count)))), 0)
    index = kinds.new_index(kind, dim, count, training)
    oracle = _Oracle(_queries(stack), min(NEIGHBOURS, count))
    residual = 0.0
    for start, block in stack.blocks():
        units = _units(block, start)
        index.add(units)
        oracle.see(start, units)
        if kind in kinds.EXACT:
            lost = units - index.reconstruct_n(start, len(units))
            residual = max(residual, float(np.linalg.norm(lost, axis=1).max()))
    # A float32 sum of d products of unit vectors errs by less than d roundings.
    slack = residual + (dim + 8) * 2.0**-24 if kind in kinds.EXACT else None
    return Finder(index, stack, kinds.EFFORTS[kind][0], slack), oracle


def _units(vectors: NDArray[Any], start: int) -> NDArray[np.float32]:
    # FAISS takes NaN without a word, and would find it first for every query.
    if not np.isfinite(vectors).all():
        row = start + int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])
        raise ValueError(f"anchor {row} of the index holds NaN or infinity")
    return np.ascontiguousarray(unit_vectors(vectors), dtype=np.float32)


def _evenly(count: int, wanted: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.int64))


def _queries(stack: Stack) -> NDArray[np.float64]:
    """Return unit queries, one group below the other, (GROUPS * QUERIES, dim).

    The first have random directions: like a background's patches they are far from every anchor,
    whose scores then differ least. The others are anchors with noise, as many of each set.
    """
    random = np.random.default_rng(0)
    far, noise = unit_vectors(random.normal(size=(GROUPS * QUERIES, stack.dim))).reshape(
        GROUPS, QUERIES, stack.dim
    )
    starts = np.unique(stack.starts)
    sets = np.linspace(0, len(starts) - 1, QUERIES, endpoint=False).astype(np.int64)
    rows = np.sort(random.integers(starts[sets], starts[sets + 1]))
    return np.concatenate([far, unit_vectors(unit_vectors(stack.take(rows)) + NOISE * noise)])


def _tune(
    finder: Finder, oracle: _Oracle, efforts: Sequence[Mapping[str, int]]
) -> tuple[float, Mapping[str, int]]:
    """Return the first effort that meets the gate for each group, or the last, and its recall."""
    worst, recall = np.array(oracle.worst(finder.stack)), 0.0
    for effort in efforts:
        tried, recall = replace(finder, effort=effort), 1.0
        for group in np.split(np.arange(len(worst)), GROUPS):
            found = tried.search(oracle.queries[group], oracle.count)
            # Rows that score the same are as good as each other.
            hits = [
                (scores >= last).sum()
                for (_, scores), last in zip(found, worst[group], strict=True)
            ]
            recall = min(recall, float(np.mean(hits)) / oracle.count)
            if recall < GATE:
                break
        if recall >= GATE:
            break
    return recall, effort
