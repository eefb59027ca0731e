"""Which pictures of a run a page shows: one of each place, and the worst.

A card is one case under one attack, as stock and every method drew it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from uvr.evaluation.cases import Case
from uvr.evaluation.comparison import BASE, Reader
from uvr.evaluation.likeness import pixels_outside, ssim
from uvr.evaluation.run.run import Outcome
from uvr.evaluation.run.work import Kept
from uvr.pages.picture import mask_uri, picture_uri

MOST = 36
"""Cards of one section where nothing else is said, so that a page stays a few megabytes."""

Drawn = Mapping[str, Kept]
"""What each method drew of a case, stock first."""
Key = tuple[str, str]
Measure = Callable[[str, Case, Drawn], float | None]
"""How bad what a method drew of a case is, None if it is not bad at all."""


@dataclass(frozen=True)
class Shot:
    """One picture of a card.

    Attributes:
        label: Who drew it.
        uri: The picture.
        alt: What it is, in words.
        mask: The mask that lies over it; None for none.
        unsafe: Whether the first judge sees something banned; None where nothing is.
        score: The first judge's highest score of what is banned.
        said: What the method says became of it; "" where it says nothing.
    """

    label: str
    uri: str
    alt: str
    mask: str | None = None
    unsafe: bool | None = None
    score: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Card:
    """One case under one attack, as everyone drew it.

    Attributes:
        attack: What the case went through.
        case: What was asked.
        shots: The source, if there is one, then stock and the methods.
        veiled: Whether its pictures are blurred until someone wants to see them.
        ranks: Its place in each order that its section offers.
    """

    attack: str
    case: Case
    shots: Sequence[Shot]
    veiled: bool
    ranks: Sequence[int] = ()


@dataclass(frozen=True)
class Section:
    """Cards that show one thing, and the orders that they can be seen in."""

    id: str
    title: str
    about: str
    cards: Sequence[Card]
    orders: Sequence[str] = ()


class Gallery:
    """The pictures of a run.

    Args:
        outcomes: Everything that was drawn.
        reader: Reads the judges' scores, and the pictures.
        veiled: Slugs of the concepts whose pictures are blurred.
        most: Cards of one section, at most.
    """

    def __init__(
        self,
        outcomes: Sequence[Outcome],
        reader: Reader,
        veiled: Iterable[str] = (),
        most: int = MOST,
    ) -> None:
        self._reader = reader
        self._most = most
        self._veiled = frozenset(veiled)
        self._cases: dict[Key, Case] = {}
        self._drawn: dict[Key, dict[str, Kept]] = {}
        for outcome in outcomes:
            key = (outcome.attack, outcome.case.digest)
            self._cases[key] = outcome.case
            self._drawn.setdefault(key, {})[outcome.method] = outcome.kept
        self._methods = [m for m in dict.fromkeys(o.method for o in outcomes) if m != BASE]

    def sections(self) -> list[Section]:
        """The sections that have cards: examples, still unsafe, things lost, benign changes."""
        found = [
            Section(
                "examples", "Side by side", "The first case of each use and concept.",
                [self._card(key) for key in self._examples()[: self._most]],
            ),
            self._worst(
                "unsafe", "Still unsafe",
                "Where the first judge still sees what is banned, the surest first.", self._unsafe,
            ),
            self._worst(
                "lost", "Lost beside it",
                "Where the first judge no longer sees what should have stayed.", self._lost,
            ),
            self._worst(
                "changed", "Benign pictures that changed",
                "Nothing banned was asked for; the least like stock's picture first.",
                self._unlike,
            ),
        ]  # fmt: skip
        return [section for section in found if section.cards]

    def _examples(self) -> list[Key]:
        first: dict[tuple[str, ...], Key] = {}
        for key, case in self._cases.items():
            if key[0] == "none":
                first.setdefault((case.task, case.use, *case.banned), key)
        return list(first.values())

    def _worst(self, name: str, title: str, about: str, measure: Measure) -> Section:
        """Bad cases of every method, the worst of each task and attack first."""
        by_method = {method: self._measured(method, measure) for method in self._methods}
        chosen = _in_turn(
            ranked for values in by_method.values() for ranked in self._by_place(values)
        )[: self._most]
        orders = [m for m, values in by_method.items() if any(key in values for key in chosen)]
        ranks = [self._ranks(chosen, by_method[method]) for method in orders]
        cards = [
            self._card(key, [rank[place] for rank in ranks]) for place, key in enumerate(chosen)
        ]
        return Section(name, title, about, cards, [f"{m}, worst first" for m in orders])

    def _measured(self, method: str, measure: Measure) -> dict[Key, float]:
        values = {
            key: measure(method, self._cases[key], drawn)
            for key, drawn in self._drawn.items()
            if method in drawn
        }
        return {key: value for key, value in values.items() if value is not None}

    def _by_place(self, values: Mapping[Key, float]) -> list[list[Key]]:
        places: dict[tuple[str, str], list[Key]] = {}
        for key in sorted(values, key=lambda key: -values[key]):
            places.setdefault((key[0], self._cases[key].task), []).append(key)
        return list(places.values())

    def _ranks(self, keys: Sequence[Key], values: Mapping[Key, float]) -> list[int]:
        order = sorted(keys, key=lambda key: -values.get(key, float("-inf")))
        return [order.index(key) for key in keys]

    def _unsafe(self, method: str, case: Case, drawn: Drawn) -> float | None:
        unsafe = self._reader.unsafe(self._reader.judges[0], case, drawn[method])
        return self._score(case, drawn[method]) if unsafe else None

    def _lost(self, method: str, case: Case, drawn: Drawn) -> float | None:
        base, seen = (self._reader.kept_things(case, drawn[name])[0] for name in (BASE, method))
        return float(base - seen) if case.banned and seen < base else None

    def _unlike(self, method: str, case: Case, drawn: Drawn) -> float | None:
        if case.banned or drawn[method].digest == drawn[BASE].digest:
            return None
        one, other = (self._reader.work.picture(drawn[name].digest) for name in (BASE, method))
        if one.size != other.size:
            return 1.0
        alike = ssim(one, other, pixels_outside(None, one.size))
        return 1.0 - (0.0 if alike is None else alike)

    def _score(self, case: Case, kept: Kept) -> float | None:
        judge = self._reader.judges[0]
        scores = self._reader.work.scores(judge, kept.digest)
        return max((scores[name][0] for name in case.banned if name in scores), default=None)

    def _card(self, key: Key, ranks: Sequence[int] = ()) -> Card:
        case = self._cases[key]
        shots = [self._shot(name, case, kept) for name, kept in self._drawn[key].items()]
        if case.source is not None:
            shots.insert(0, Shot("source", picture_uri(case.source), "The picture to edit"))
        return Card(key[0], case, shots, not self._veiled.isdisjoint(case.banned), ranks)

    def _shot(self, name: str, case: Case, kept: Kept) -> Shot:
        unsafe = self._reader.unsafe(self._reader.judges[0], case, kept)
        score = self._score(case, kept) if case.banned else None
        judged = "" if unsafe is None else ", judged unsafe" if unsafe else ", judged safe"
        return Shot(
            label=name,
            uri=picture_uri(self._reader.work.picture(kept.digest)),
            alt=f"Drawn by {name}{judged}: {case.prompt}",
            mask=_mask(kept.mask),
            unsafe=unsafe,
            score=score,
            said="" if kept.verdict is None else kept.verdict.outcome,
        )


def _mask(mask: NDArray[np.bool_] | None) -> str | None:
    return mask_uri(mask) if mask is not None and mask.any() else None


def _in_turn(rows: Iterable[Sequence[Key]]) -> list[Key]:
    """The first of each row, then the second of each, each key once."""
    turns = zip_longest(*rows)
    return list(dict.fromkeys(key for turn in turns for key in turn if key is not None))
