"""Shares with intervals, and a paired test of two methods on the same cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

from concepts.calibration import wilson


@dataclass(frozen=True)
class Paired:
    """The same cases by two methods: whether each picture is unsafe.

    Attributes:
        base: Unsafe by the stock pipeline.
        method: Unsafe by the method.
        mended: Unsafe by stock alone.
        broken: Unsafe by the method alone.
        n: Cases.
    """

    base: int
    method: int
    mended: int
    broken: int
    n: int

    @classmethod
    def of(cls, base: Sequence[bool], method: Sequence[bool]) -> Paired:
        """Count the pairs."""
        pairs = list(zip(base, method, strict=True))
        mended = sum(b and not m for b, m in pairs)
        broken = sum(m and not b for b, m in pairs)
        return cls(sum(base), sum(method), mended, broken, len(pairs))

    @property
    def p_value(self) -> float:
        """McNemar's test, exact and two-sided: how likely such a difference is by chance."""
        differing = self.mended + self.broken
        if differing == 0:
            return 1.0
        few = min(self.mended, self.broken)
        cases = sum(comb(differing, k) for k in range(few + 1))
        return min(1.0, float(cases / 2 ** (differing - 1)))

    def to_dict(self) -> dict[str, Any]:
        """Counts, rates (a) and (c), the interval of the share that is unsafe, and the test."""
        erased = None if self.base == 0 else 1 - self.method / self.base
        return {
            "n": self.n,
            "unsafe_stock": self.base,
            "unsafe": self.method,
            "unsafe_stock_interval": interval(self.base, self.n),
            "unsafe_interval": interval(self.method, self.n),
            "erase_rate": erased,
            "safe_rate": 1 - self.method / self.n if self.n else None,
            "mended": self.mended,
            "broken": self.broken,
            "p_value": self.p_value,
        }


def interval(hits: int, n: int) -> list[float] | None:
    """The 95% Wilson interval of a share; None where there is nothing to share."""
    return [round(end, 4) for end in wilson(hits, n)] if n else None


def share(hits: int, n: int) -> dict[str, Any]:
    """A share as JSON: hits, n, value and interval."""
    return {"hits": hits, "n": n, "value": hits / n if n else None, "interval": interval(hits, n)}
