"""Plots as numbers to draw: the places of points and bars; ``charts.html`` draws them as SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import floor, sqrt

WIDTH, HEIGHT = 440, 340
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 14, 42
LINE = 14
"""Height of a label: labels of points keep so far apart."""
BAR, GAP, HEAD, NAME = 15, 12, 18, 118

Interval = tuple[float, float]


@dataclass(frozen=True)
class Point:
    """A point of a plot of two shares, each 0 to 1.

    Attributes:
        label: Its name.
        x: Share to the right.
        y: Share upwards.
        x_interval: Its 95% interval; None for none.
        y_interval: Its 95% interval; None for none.
        size: What its area says, 1 for the smallest.
        strong: Whether it stands out.
    """

    label: str
    x: float
    y: float
    x_interval: Interval | None = None
    y_interval: Interval | None = None
    size: float = 1.0
    strong: bool = False


@dataclass(frozen=True)
class Mark:
    """A point where it is drawn, in pixels; ``label_y`` is moved off other labels."""

    point: Point
    x: float
    y: float
    radius: float
    x_ends: Interval
    y_ends: Interval
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True)
class Scatter:
    """A plot of two shares.

    Attributes:
        title: What it shows.
        x_name: Name of the axis to the right.
        y_name: Name of the axis upwards.
        points: What it shows; the axes begin at a tenth below the lowest.
    """

    title: str
    x_name: str
    y_name: str
    points: Sequence[Point]
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def lowest(self) -> Interval:
        """Where the axes begin."""
        return _below(p.x for p in self.points), _below(p.y for p in self.points)

    def x(self, share: float) -> float:
        """Pixels from the left of a share; shares off the axis lie on its end."""
        low = self.lowest[0]
        return LEFT + (self.width - LEFT - RIGHT) * _within((share - low) / (1 - low))

    def y(self, share: float) -> float:
        """Pixels from the top of a share."""
        low = self.lowest[1]
        foot = self.height - BOTTOM
        return foot - (foot - TOP) * _within((share - low) / (1 - low))

    @property
    def ticks(self) -> tuple[list[float], list[float]]:
        """Shares that the axes name."""
        across, up = self.lowest
        return _ticks(across), _ticks(up)

    @property
    def marks(self) -> list[Mark]:
        """The points where they are drawn, labels from top to bottom."""
        marks: list[Mark] = []
        lowest_label = 0.0
        for point in sorted(self.points, key=lambda p: (-p.y, -p.x, p.label)):
            x, y, radius = self.x(point.x), self.y(point.y), 4 * sqrt(max(point.size, 0.25))
            label_y = max(y + 4, lowest_label + LINE)
            lowest_label = label_y
            right = x > self.width * 0.55
            marks.append(Mark(
                point, x, y, radius,
                _ends(point.x_interval or (point.x, point.x), self.x),
                _ends(point.y_interval or (point.y, point.y), self.y),
                x - radius - 5 if right else x + radius + 5, label_y,
                "end" if right else "start",
            ))  # fmt: skip
        return marks


@dataclass(frozen=True)
class Bar:
    """A share as a bar: its name, hits of n, and its 95% interval."""

    name: str
    hits: int
    n: int
    interval: Interval | None = None
    strong: bool = False
    faint: bool = False

    @property
    def share(self) -> float:
        """Hits of n."""
        return self.hits / self.n if self.n else 0.0


@dataclass(frozen=True)
class Bars:
    """Groups of bars, one below the other.

    Attributes:
        title: What they show.
        groups: Name of each group, and its bars.
    """

    title: str
    groups: Sequence[tuple[str, Sequence[Bar]]]
    width: int = WIDTH
    name_width: int = NAME
    bar: int = BAR

    @property
    def height(self) -> int:
        """Pixels of all groups and the axis."""
        return sum(HEAD + GAP + BAR * len(bars) for _, bars in self.groups) + HEAD

    def x(self, share: float) -> float:
        """Pixels from the left of a share; the counts stand to the right of the bars."""
        return NAME + (self.width - NAME - 78) * share

    @property
    def placed(self) -> list[tuple[str, int, list[tuple[Bar, int]]]]:
        """Each group with its top, and its bars with theirs, in pixels."""
        top, found = 0, []
        for name, bars in self.groups:
            found.append((name, top, [(b, top + HEAD + BAR * k) for k, b in enumerate(bars)]))
            top += HEAD + GAP + BAR * len(bars)
        return found


def _below(shares: Iterable[float]) -> float:
    least = min(shares, default=0.0)
    return max(0.0, min(0.9, floor(least * 10 - 0.5) / 10))


def _ticks(low: float) -> list[float]:
    step = 0.2 if low < 0.5 else 0.1 if low < 0.8 else 0.05
    count = round((1 - low) / step + 1e-9)
    return [round(1 - step * k, 2) for k in range(count, -1, -1) if 1 - step * k >= low - 1e-9]


def _within(share: float) -> float:
    return min(max(share, 0.0), 1.0)


def _ends(interval: Interval, place: Callable[[float], float]) -> Interval:
    return place(interval[0]), place(interval[1])
