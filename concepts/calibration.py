"""``Calibration``: what was promised and measured when a scorer's thresholds were set.

A scorer's metadata keeps it under ``KEY``, so that the digest of a version covers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, sqrt
from typing import Any

from concepts.plain import finite_number, require_keys

KEY = "calibration"
GOOD_RECALL = 0.95
"""From this share of its pictures on, a concept is found well enough."""
FEW_PICTURES = 500
"""With fewer pictures of a concept, more of them are the first thing to try."""
WEAK_PROMISE = 0.05
"""A higher share of other pictures that may match is warned of."""


@dataclass(frozen=True)
class Share:
    """Some of a number of pictures, ``hits`` of ``n``."""

    hits: int
    n: int

    def __post_init__(self) -> None:
        if type(self.hits) is not int or type(self.n) is not int or not 0 <= self.hits <= self.n:
            raise ValueError(f"{self.hits!r} of {self.n!r} is no share")
        if self.n == 0:
            raise ValueError("a share needs one picture or more")

    @property
    def value(self) -> float:
        """The share, 0 to 1."""
        return self.hits / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval."""
        return wilson(self.hits, self.n)

    def __str__(self) -> str:
        return f"{self.hits} of {self.n}"

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with the interval."""
        interval = [round(end, 4) for end in self.interval]
        return {"hits": self.hits, "n": self.n, "interval": interval}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Share:
        """Read the JSON form; ValueError for anything else."""
        require_keys(data, ("hits", "n", "interval"))
        return cls(data["hits"], data["n"])


@dataclass(frozen=True)
class Calibration:
    """How well a concept is told from the rest, on pictures that its directions did not see.

    Attributes:
        target: Share of other pictures, 0 to 1, that may match at most.
        matched: Pictures without the concept that matched, each against thresholds that were set
            by the other folds.
        found: Pictures of the concept that matched.
        found_by_kind: The same by kind of picture, where the anchors say kinds.
        near_misses: Of the other pictures that score highest and so set the threshold, those that
            are near-misses; None where the anchors do not say which are.
        ordinary: The other pictures that are no near-misses; None where the anchors do not say,
            and in versions that were made before it was kept.
    """

    target: float
    matched: Share
    found: Share
    found_by_kind: Mapping[str, Share] = field(default_factory=dict)
    near_misses: Share | None = None
    ordinary: int | None = None

    def __post_init__(self) -> None:
        if not 0 < finite_number("target", self.target) < 1:
            raise ValueError(f"target must lie between 0 and 1, not {self.target}")
        if self.ordinary is not None and (type(self.ordinary) is not int or self.ordinary < 0):
            raise ValueError(f"{self.ordinary!r} is no number of pictures")

    def summary(self) -> str:
        """What it says, as a part of a sentence."""
        kinds = "".join(
            f"; {kind} {_percent(share.value)} of {share.n}"
            for kind, share in sorted(self.found_by_kind.items())
        )
        target = ceil(1e3 * self.target - 1e-9) / 1e3  # Never less than what was promised.
        return (
            f"finds {_percent(self.found.value)} of its pictures (n = {self.found.n}, 95% interval "
            f"{_span(self.found)}{kinds}), at most {_percent(target)} of others match "
            f"(measured {self.matched}, 95% interval {_span(self.matched)})"
        )

    def warnings(self) -> tuple[str, ...]:
        """What its promise on other pictures is not worth, a sentence each, whatever it finds."""
        found = []
        if self.ordinary == 0:
            found.append(
                "No ordinary pictures: it may match any of them. Add benign prompts or pictures, "
                "and collect again."
            )
        if self.target > WEAK_PROMISE:
            needed = ceil(1 / WEAK_PROMISE) - 1
            more = f"{self.matched.n} were looked at, and {WEAK_PROMISE:.0%} needs {needed} or more"
            found.append(
                f"As many as {_percent(self.target)} of other pictures may match: "
                f"{more if self.matched.n < needed else 'ask for a lower rate'}."
            )
        return tuple(found)

    def advice(self) -> tuple[str, ...]:
        """What would help, where too few of the concept's pictures are found."""
        if self.found.value >= GOOD_RECALL:
            return ()
        found = []
        if self.found.n < FEW_PICTURES:
            found.append(f"more pictures of it ({self.found.n} so far)")
        if self.near_misses is not None and 2 * self.near_misses.hits > self.near_misses.n:
            found.append(
                f"more near-misses ({self.near_misses} of the pictures that set its threshold are)"
            )
        return tuple(found) or ("a higher rate, or prototypes if it looks like several things",)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "target": self.target,
            "matched": self.matched.to_dict(),
            "found": self.found.to_dict(),
            "found_by_kind": {name: share.to_dict() for name, share in self.found_by_kind.items()},
            "near_misses": self.near_misses and self.near_misses.to_dict(),
            "ordinary": self.ordinary,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """Read the JSON form; ValueError for anything else."""
        if isinstance(data, Mapping):
            data = {"ordinary": None, **data}  # Older versions do not have it.
        keys = ("target", "matched", "found", "found_by_kind", "near_misses", "ordinary")
        require_keys(data, keys)
        kinds, near_misses = data["found_by_kind"], data["near_misses"]
        if not isinstance(kinds, Mapping):
            raise ValueError("found_by_kind must be a mapping")
        return cls(
            target=data["target"],
            matched=Share.from_dict(data["matched"]),
            found=Share.from_dict(data["found"]),
            found_by_kind={str(name): Share.from_dict(item) for name, item in kinds.items()},
            near_misses=None if near_misses is None else Share.from_dict(near_misses),
            ordinary=data["ordinary"],
        )


def recorded_calibration(metadata: Mapping[str, Any]) -> Calibration | None:
    """Read what a scorer's metadata holds; None where it holds none, as in older versions."""
    try:
        return Calibration.from_dict(metadata[KEY])
    except (KeyError, ValueError):
        return None


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95% Wilson interval of a share."""
    z = 1.96
    share = hits / n
    middle = share + z * z / (2 * n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)
    return max(0.0, low), min(1.0, high)


def _percent(share: float) -> str:
    """A share in percent; below 10 with one digit after the point where there is one."""
    percent = 100 * share
    return f"{percent:.0f}%" if percent >= 9.95 else f"{round(percent, 1):g}%"


def _span(share: Share) -> str:
    low, high = share.interval
    return f"{_percent(low)[:-1]} to {_percent(high)}"
