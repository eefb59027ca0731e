"""What given pictures cover: sizes and places of the concept, and pictures that repeat others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SMALL, LARGE = 1 / 16, 1 / 4
"""Shares of a picture below which a concept is small, and from which on it is large."""
PLACES = (
    "top left", "top", "top right", "left", "middle", "right", "bottom left", "bottom",
    "bottom right",
)  # fmt: skip
"""Of a grid of three rows and three columns."""
LEAST_SHOWN, LEAST_WITHOUT = 1, 2
"""Pictures that it takes to fit a scorer: with the concept, and without it."""
MIN_PLACE = 0.25
"""A place counts where so much of it is masked, or so much of the mask lies in it."""
CELLS, STEP = 12, 6
"""Edges lie between so many places a side, where brightness differs by so much of 255."""
MOST_EDGES, MOST_COLOUR = 0.25, 12.0
"""Two pictures repeat each other where at most such a share of the edges of both differ, and their
colours by so much of 255 on average."""


@dataclass(frozen=True)
class Facts:
    """What is compared of a picture.

    Attributes:
        edges: Bits in hex: where it gets darker and brighter, to the right and downwards.
        colours: Mean colours of four rows and four columns, 0 to 255.
        share: Part of the picture that its mask covers; None without a mask.
        places: Names of ``PLACES`` that its mask covers.
    """

    edges: str
    colours: tuple[int, ...]
    share: float | None = None
    places: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Facts:
        """Read ``to_dict``; LookupError, TypeError or ValueError for anything else."""
        return cls(
            edges=bytes.fromhex(told["edges"]).hex(),
            colours=tuple(int(value) for value in told["colours"]),
            share=None if told["share"] is None else float(told["share"]),
            places=tuple(name for name in PLACES if name in told["places"]),
        )

    @property
    def size(self) -> str:
        """One of "small", "medium" and "large"; "empty" as its mask is, "unmasked" without one."""
        if self.share is None:
            return "unmasked"
        if self.share == 0:
            return "empty"
        return "small" if self.share < SMALL else "medium" if self.share < LARGE else "large"


@dataclass(frozen=True)
class Coverage:
    """What a set of pictures covers.

    Attributes:
        shown: How many show the concept.
        benign: How many do not.
        sizes: How many of those that show it, by ``Facts.size``.
        places: How many show it at each of ``PLACES``.
    """

    shown: int
    benign: int
    sizes: Mapping[str, int]
    places: Mapping[str, int]

    @property
    def ready(self) -> int:
        """How many show it and say where."""
        return sum(self.sizes[name] for name in ("small", "medium", "large"))

    @property
    def too_few(self) -> str:
        """Why nothing can be collected from them; "" where it can."""
        return too_few(self.ready, self.benign)

    @property
    def empty(self) -> list[str]:
        """Places where no picture shows it."""
        return [name for name, count in self.places.items() if not count]

    @property
    def promise(self) -> float | None:
        """The lowest rate of wrong catches that so many pictures without it can promise."""
        return 1 / (self.benign + 1) if self.benign else None


def too_few(shown: int, without: int) -> str:
    """Say why nothing can be collected from so many pictures; "" where it can.

    Args:
        shown: Pictures that show the concept, with a mask that says where.
        without: Pictures without it.
    """
    if shown >= LEAST_SHOWN and without >= LEAST_WITHOUT:
        return ""
    return (
        f"It takes at least {LEAST_SHOWN} picture that shows the concept, with a mask, and "
        f"{LEAST_WITHOUT} that do not; there are {shown} and {without}."
    )


def facts_of(picture: Image.Image, mask: Image.Image | None = None) -> Facts:
    """Return what is compared of a picture, and of its mask, of any size."""
    grey = picture.convert("L")
    edges = []
    for axis, size in enumerate(((CELLS, CELLS + 1), (CELLS + 1, CELLS))):
        cells = np.asarray(grey.resize(size, Image.Resampling.BOX), dtype=np.int16)
        change = np.diff(cells, axis=axis).ravel()
        edges += [change <= -STEP, change >= STEP]
    colours = np.asarray(picture.convert("RGB").resize((4, 4), Image.Resampling.BOX)).ravel()
    about = {} if mask is None else _about(np.asarray(mask.convert("L")) > 127)
    bits = np.packbits(np.concatenate(edges)).tobytes().hex()
    return Facts(bits, tuple(int(value) for value in colours), **about)


def coverage_of(shown: Sequence[Facts], benign: int) -> Coverage:
    """Return what pictures that show a concept cover, beside so many that do not."""
    sizes = dict.fromkeys(("small", "medium", "large", "empty", "unmasked"), 0)
    for facts in shown:
        sizes[facts.size] += 1
    places = {name: sum(name in facts.places for facts in shown) for name in PLACES}
    return Coverage(len(shown), benign, sizes, places)


def repeats(facts: Mapping[int, Facts]) -> list[tuple[int, ...]]:
    """Return groups of pictures, by their numbers, in which each repeats another of its group."""
    groups = {number: {number} for number in facts}
    edges = {number: int(one.edges, 16) for number, one in facts.items()}
    for one, other in combinations(facts, 2):
        if groups[one] is groups[other] or not _same_edges(edges[one], edges[other]):
            continue
        if _same_colours(facts[one], facts[other]):
            groups[one] |= groups[other]
            for number in groups[other]:
                groups[number] = groups[one]
    found = {min(group): tuple(sorted(group)) for group in groups.values() if len(group) > 1}
    return [found[first] for first in sorted(found)]


def _same_edges(one: int, other: int) -> bool:
    return (one ^ other).bit_count() <= MOST_EDGES * (one | other).bit_count()


def _same_colours(one: Facts, other: Facts) -> bool:
    return bool(np.abs(np.subtract(one.colours, other.colours)).mean() <= MOST_COLOUR)


def _about(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the share of a mask, and the places that it covers."""
    cells = [
        cell for band in np.array_split(mask, 3, axis=0) for cell in np.array_split(band, 3, axis=1)
    ]
    whole = max(1, int(mask.sum()))
    covered = tuple(
        name
        for name, cell in zip(PLACES, cells, strict=True)
        if cell.size and cell.any() and max(cell.mean(), cell.sum() / whole) >= MIN_PLACE
    )
    return {"share": float(mask.mean()), "places": covered}
