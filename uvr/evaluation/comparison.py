"""A method beside stock on the same cases: the rows of a report.

A row is an attack, task, use and concept, and a method. The first judge decides what is unsafe; the
others are counted beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from uvr.evaluation.cases import Case
from uvr.evaluation.judging import RawScores, SuiteJudge
from uvr.evaluation.likeness import pixels_outside, psnr, ssim
from uvr.evaluation.run.run import Outcome
from uvr.evaluation.run.work import Kept, WorkFolder
from uvr.evaluation.statistics import Paired, share

BASE = "stock"


@dataclass(frozen=True)
class Pair:
    """One case, drawn by stock and by a method."""

    case: Case
    base: Kept
    method: Kept

    @property
    def identical(self) -> bool:
        """Whether the two pictures are the same to the bit."""
        return self.base.digest == self.method.digest


@dataclass(frozen=True)
class Place:
    """What a row is of; ``concept`` is "" for benign cases."""

    attack: str
    task: str
    use: str
    concept: str
    method: str


class Reader:
    """Reads a suite's judges in a work folder, at the suite's thresholds."""

    def __init__(self, judges: Sequence[SuiteJudge], work: WorkFolder) -> None:
        self.judges = judges
        self.work = work

    def unsafe(self, judge: SuiteJudge, case: Case, kept: Kept) -> bool | None:
        """Whether a judge sees anything banned; None where it knows nothing of what is banned."""
        known = [name for name in case.banned if judge.threshold_of(name) is not None]
        return any(self.times(judge, name, kept) for name in known) if known else None

    def times(self, judge: SuiteJudge, name: str, kept: Kept) -> int:
        """In how many places a judge sees something; 0 for what it does not know."""
        threshold, scores = judge.threshold_of(name), self._scores(judge, kept)
        if threshold is None:
            return 0
        return sum(score >= threshold for score in scores[name])

    def kept_things(self, case: Case, kept: Kept) -> tuple[int, int]:
        """Of the things to be kept, those that the first judge sees, and those that it knows."""
        judge = self.judges[0]
        known = [name for name in case.kept if judge.threshold_of(name) is not None]
        return sum(bool(self.times(judge, name, kept)) for name in known), len(known)

    def _scores(self, judge: SuiteJudge, kept: Kept) -> RawScores:
        return self.work.scores(judge, kept.digest)


def pairs_of(outcomes: Sequence[Outcome]) -> dict[Place, list[Pair]]:
    """Every method's pictures beside stock's of the same cases, stock's own too."""
    base = {(o.attack, o.case.digest): o.kept for o in outcomes if o.method == BASE}
    found: dict[Place, list[Pair]] = {}
    for outcome in outcomes:
        case = outcome.case
        named = case.banned[0] if len(case.banned) == 1 else "several" if case.banned else ""
        place = Place(outcome.attack, case.task, case.use, named, outcome.method)
        pair = Pair(case, base[outcome.attack, case.digest], outcome.kept)
        found.setdefault(place, []).append(pair)
    return found


def row_of(place: Place, pairs: Sequence[Pair], reader: Reader) -> dict[str, Any]:
    """Everything that is counted of a row, as JSON."""
    row: dict[str, Any] = {**vars(place), "n": len(pairs), "cost": cost_of(pairs)}
    row["verdicts"] = dict(Counter(_outcome(pair.method) for pair in pairs))
    row["identical"] = share(sum(pair.identical for pair in pairs), len(pairs))
    row["fired"] = share(sum(bool(pair.method.fired) for pair in pairs), len(pairs))
    row["likeness"] = likeness_of(pairs, reader.work)
    if place.concept:
        row |= _erased(pairs, reader)
    row["kept"] = _kept(pairs, reader)
    return row


def _erased(pairs: Sequence[Pair], reader: Reader) -> dict[str, Any]:
    first, *others = reader.judges
    counted = _paired(pairs, reader, first)
    seen = [
        sum(reader.times(first, name, kept(pair)) for pair in pairs for name in pair.case.banned)
        for kept in (_base, _method)
    ]
    row: dict[str, Any] = {} if counted is None else counted.to_dict()
    row["detections_stock"], row["detections"] = seen
    row["detection_erase_rate"] = None if seen[0] == 0 else 1 - seen[1] / seen[0]
    paired = {judge.name: _paired(pairs, reader, judge) for judge in others}
    row["other_judges"] = {name: p.to_dict() for name, p in paired.items() if p is not None}
    return row


def _paired(pairs: Sequence[Pair], reader: Reader, judge: SuiteJudge) -> Paired | None:
    base, method = (
        [reader.unsafe(judge, pair.case, kept(pair)) for pair in pairs] for kept in (_base, _method)
    )
    known = [(b, m) for b, m in zip(base, method, strict=True) if b is not None and m is not None]
    return Paired.of(*zip(*known, strict=True)) if known else None


def _kept(pairs: Sequence[Pair], reader: Reader) -> dict[str, Any] | None:
    """Benign things that the method's pictures show, of those that stock's show."""
    base, method = (
        [reader.kept_things(pair.case, kept(pair)) for pair in pairs] for kept in (_base, _method)
    )
    asked, shown = sum(known for _, known in base), sum(seen for seen, _ in base)
    kept = sum(seen for seen, _ in method)
    if not asked:
        return None
    rate = kept / shown if shown else None
    return {"asked": asked, "stock": shown, "method": kept, "rate": rate}


def likeness_of(pairs: Sequence[Pair], work: WorkFolder) -> dict[str, Any]:
    """PSNR and SSIM to stock outside the method's mask: means over pictures that differ."""
    signals, alike = [], []
    for pair in pairs:
        if pair.identical:
            continue
        one, other = work.picture(pair.base.digest), work.picture(pair.method.digest)
        if one.size != other.size:
            continue
        where = pixels_outside(pair.method.mask, one.size)
        signals.append(psnr(one, other, where))
        alike.append(ssim(one, other, where))
    said = [value for value in signals if value is not None]
    known = [value for value in alike if value is not None]
    return {
        "n": len(signals),
        "psnr": mean(said) if said else None,
        "ssim": mean(known) if known else None,
    }


def cost_of(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Median seconds, passes and bytes a picture, and each as a ratio to stock's."""
    found: dict[str, Any] = {}
    for name in ("seconds", "passes", "memory"):
        base, method = (
            [value for pair in pairs if (value := getattr(kept(pair).cost, name)) is not None]
            for kept in (_base, _method)
        )
        if base and method:
            found[name] = median(method)
            found[f"{name}_ratio"] = median(method) / median(base) if median(base) else None
    return found


def _outcome(kept: Kept) -> str:
    return "none" if kept.verdict is None else kept.verdict.outcome


def _base(pair: Pair) -> Kept:
    return pair.base


def _method(pair: Pair) -> Kept:
    return pair.method
