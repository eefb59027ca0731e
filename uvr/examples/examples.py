"""``Examples``: pictures of one version and task, and what any threshold makes of them.

Nothing here draws or loads a model: thresholds are compared with scores that were kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.calibration import Share
from uvr.examples.wanted import BENIGN, LOOK_ALIKE, MUST_CATCH


@dataclass(frozen=True, eq=False)
class Example:
    """A picture, and how one version scores it.

    Attributes:
        kind: "must-catch", "look-alike" or "benign".
        key: Its name, the same for every version.
        picture: The PNG file.
        prompt: What was asked for; the instruction of an edit.
        score: The highest of ``scores``.
        scores: Of its patches, (rows, columns), float32; score >= threshold is a match.
        shown: Patches that are known to show the concept, (rows, columns); None where nobody says.
        source: The picture that an edit began with; None for none.
        name: What whoever gave it calls it, "" when it was drawn.
    """

    kind: str
    key: str
    picture: Path
    prompt: str
    score: float
    scores: NDArray[np.float32]
    shown: NDArray[np.bool_] | None = None
    source: Path | None = None
    name: str = ""

    def caught(self, threshold: float) -> bool:
        """Whether it matches at a threshold; in float32, as engines compare."""
        return bool(np.float32(self.score) >= np.float32(threshold))

    def strays(self, threshold: float, grow: float | None = None) -> bool:
        """Whether it is caught, and only where it is known not to show the concept."""
        if self.shown is None or not self.shown.any() or not self.caught(threshold):
            return False
        return not bool((self.outline(threshold, grow) & self.shown).any())

    def outline(self, threshold: float, grow: float | None = None) -> NDArray[np.bool_]:
        """Patches that match: those that reach ``grow``, beside one that reaches the threshold.

        Engines may then fill holes and add a ring, as a model's profile says.

        Args:
            threshold: A patch with score >= this starts a region.
            grow: A patch with score >= this joins one; by default ``threshold``.

        Returns:
            (rows, columns), bool; nothing where the picture is not caught.
        """
        found = self.scores >= np.float32(threshold)
        allowed = found | (self.scores >= np.float32(threshold if grow is None else grow))
        while True:
            wider = _spread(found) & allowed
            if np.array_equal(wider, found):
                return found
            found = wider


@dataclass(frozen=True)
class Rates:
    """How many pictures of each kind match at a threshold; None where there are none of a kind."""

    threshold: float
    must_catch: Share | None
    look_alikes: Share | None
    benign: Share | None

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with 95% intervals."""
        shares = {name: getattr(self, name) for name in ("must_catch", "look_alikes", "benign")}
        told = {name: None if one is None else one.to_dict() for name, one in shares.items()}
        return {"threshold": self.threshold, **told}


@dataclass(frozen=True)
class Examples:
    """The example pictures of one version and task.

    Attributes:
        model: Name of the model.
        task: "t2i", "edit" or "check".
        threshold: The version's own: a patch with score >= this starts a region.
        grow: A patch with score >= this joins a region next to it.
        must_catch: Pictures that show the concept.
        look_alikes: Pictures that look like it and are allowed.
        benign: Ordinary pictures.
        seed: What they were drawn from; None of given ones.
        seen: Whether the version learned from these very pictures, which flatters its figures.
    """

    model: str
    task: str
    threshold: float
    grow: float
    must_catch: tuple[Example, ...] = ()
    look_alikes: tuple[Example, ...] = ()
    benign: tuple[Example, ...] = ()
    seed: int | None = None
    seen: bool = False

    @classmethod
    def of(cls, found: Iterable[Example], **about: Any) -> Examples:
        """Sort pictures by kind; ``about`` are the other attributes."""
        by_kind: dict[str, list[Example]] = {MUST_CATCH: [], LOOK_ALIKE: [], BENIGN: []}
        for example in found:
            by_kind[example.kind].append(example)
        return cls(
            must_catch=tuple(by_kind[MUST_CATCH]),
            look_alikes=tuple(by_kind[LOOK_ALIKE]),
            benign=tuple(by_kind[BENIGN]),
            **about,
        )

    @property
    def all(self) -> tuple[Example, ...]:
        """Every picture."""
        return (*self.must_catch, *self.look_alikes, *self.benign)

    def missed(self, threshold: float | None = None) -> list[Example]:
        """Must-catch pictures below a threshold, by default the version's; the lowest first."""
        line = self._line(threshold)
        return _ranked(item for item in self.must_catch if not item.caught(line))[::-1]

    def strayed(self) -> list[Example]:
        """Must-catch pictures that are caught for something else in them; the highest first."""
        return _ranked(one for one in self.must_catch if one.strays(self.threshold, self.grow))

    def wrongly_caught(self, threshold: float | None = None) -> list[Example]:
        """Look-alikes and benign pictures that reach a threshold; the highest first."""
        line = self._line(threshold)
        return _ranked(item for item in (*self.look_alikes, *self.benign) if item.caught(line))

    def closest(self, count: int, threshold: float | None = None) -> list[Example]:
        """Allowed pictures that come nearest to a threshold from below, nearest first."""
        line = self._line(threshold)
        allowed = (*self.look_alikes, *self.benign)
        return _ranked(item for item in allowed if not item.caught(line))[:count]

    @property
    def placed(self) -> int:
        """Of how many must-catch pictures that are caught it is known where the concept is."""
        known = (one for one in self.must_catch if one.shown is not None and one.shown.any())
        return sum(one.caught(self.threshold) for one in known)

    def rates(self, threshold: float | None = None) -> Rates:
        """What matches at a threshold, by default the version's."""
        line = self._line(threshold)
        kinds = (self.must_catch, self.look_alikes, self.benign)
        return Rates(line, *(_share(items, line) for items in kinds))

    def _line(self, threshold: float | None) -> float:
        return self.threshold if threshold is None else threshold


def _share(items: Sequence[Example], threshold: float) -> Share | None:
    return Share(sum(item.caught(threshold) for item in items), len(items)) if items else None


def _ranked(items: Iterable[Example]) -> list[Example]:
    return sorted(items, key=lambda item: (-item.score, item.key))


def _spread(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with the eight neighbours of each patch."""
    rows, columns = mask.shape
    padded = np.pad(mask, 1)
    near = [padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)]
    spread: NDArray[np.bool_] = np.logical_or.reduce(near)
    return spread
