"""How many pictures each concept was found in, summed from decisions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from concepts.words import MODES
from uvr.decisions.decision import Decision


@dataclass(frozen=True)
class Hits:
    """Pictures in which a concept was found, on one day or on all.

    Attributes:
        day: Such as "2026-11-24", UTC; None for all days.
        concept: Its slug; None for any concept.
        pictures: In how many pictures it was found; each counts once, whatever found it there.
        enforce: In how many of them it was enforced.
        log: In how many it was only reported.
        shadow: In how many it was tried silently.
        of: How many pictures were decided on that day, or in all.
    """

    day: str | None
    concept: str | None
    pictures: int
    enforce: int
    log: int
    shadow: int
    of: int

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def count_hits(
    decisions: Iterable[Decision], *, by_day: bool = True, by_concept: bool = True
) -> list[Hits]:
    """Sum hits by day and concept, by one of them or over all, in that order.

    In each picture a concept counts in the strictest mode in which it was found there.
    """
    found: dict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    decided: dict[str | None, int] = defaultdict(int)
    for decision in decisions:
        day = decision.time[:10] if by_day else None
        decided[day] += 1
        for concept, mode in modes_of(decision, by_concept=by_concept).items():
            found[day, concept].append(mode)
    hits = [
        Hits(day, concept, len(modes), **{m: modes.count(m) for m in MODES}, of=decided[day])
        for (day, concept), modes in found.items()
    ]
    return sorted(hits, key=lambda item: (item.day or "", item.concept or ""))


def modes_of(decision: Decision, *, by_concept: bool = True) -> dict[str | None, str]:
    """Return the strictest mode in which each concept was found in a picture.

    Args:
        decision: On the picture.
        by_concept: Whether concepts are told apart; else None stands for all.
    """
    modes: dict[str | None, str] = {}
    for item in sorted(decision.verdict.evidence, key=lambda item: MODES.index(item.mode)):
        modes.setdefault(item.concept if by_concept else None, item.mode)
    return modes
