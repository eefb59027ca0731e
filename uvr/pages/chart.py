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
COLUMNS = 32
ROOM = 24
"""Above and below the columns of a histogram, for the words that say what they are."""

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


@dataclass(frozen=True)
class Column:
    """A column of a histogram, in pixels: how many scores of one group it stands for."""

    x: float
    y: float
    width: float
    height: float
    style: str
    count: int


@dataclass(frozen=True)
class Histogram:
    """Scores of what must be caught, upwards, and of what is allowed, downwards, and a threshold.

    Attributes:
        title: What it shows.
        upwards: Scores.
        downwards: Name of each group, and its scores; one below the other.
        threshold: score >= threshold is caught; to the right of its line.
        before: Another version's threshold, None for none.
    """

    title: str
    upwards: Sequence[float]
    downwards: Sequence[tuple[str, Sequence[float]]]
    threshold: float
    before: float | None = None
    width: int = 640
    height: int = 250

    @property
    def ends(self) -> Interval:
        """Scores at both ends of the axis; the threshold is between them."""
        lines = [self.threshold] if self.before is None else [self.threshold, self.before]
        scores = [*self.upwards, *(s for _, some in self.downwards for s in some), *lines]
        low, high = min(scores), max(scores)
        margin = (high - low) / COLUMNS or 1.0
        return low - margin, high + 2 * margin

    def x(self, score: float) -> float:
        """Pixels from the left of a score."""
        low, high = self.ends
        return 8 + (self.width - 16) * (score - low) / (high - low)

    @property
    def middle(self) -> float:
        """Pixels from the top of the line between both halves."""
        tallest, deepest = self._most
        return HEAD + ROOM + self._tall * tallest / (tallest + deepest)

    @property
    def columns(self) -> list[Column]:
        """The columns, from left to right; a bin lies on one side of the threshold."""
        unit = self._tall / sum(self._most)
        found = []
        for place, count in enumerate(self._counts(self.upwards)):
            found.append(self._column(place, self.middle - count * unit, count, unit, "strong"))
        depths = [self.middle] * COLUMNS
        for style, (_, scores) in zip(("alike", "faint"), self.downwards, strict=False):
            for place, count in enumerate(self._counts(scores)):
                found.append(self._column(place, depths[place], count, unit, style))
                depths[place] += count * unit
        return sorted((one for one in found if one.count), key=lambda one: one.x)

    @property
    def _tall(self) -> int:
        """Pixels of the highest columns of both halves."""
        return self.height - 2 * (HEAD + ROOM)

    @property
    def _most(self) -> tuple[int, int]:
        """The highest counts of both halves, at least 1."""
        down = [sum(of) for of in zip(*(self._counts(s) for _, s in self.downwards), strict=True)]
        return max(1, *self._counts(self.upwards)), max(1, *down)

    def _edge(self, place: int) -> float:
        """The lower end of a bin; the threshold is one of them."""
        low, high = self.ends
        width = (high - low) / COLUMNS
        return self.threshold + width * (place - floor((self.threshold - low) / width))

    def _counts(self, scores: Sequence[float]) -> list[int]:
        width, counts = self._edge(1) - self._edge(0), [0] * COLUMNS
        line = round((self.threshold - self._edge(0)) / width)
        for score in scores:
            place = min(max(floor((score - self._edge(0)) / width), 0), COLUMNS - 1)
            # Rounding must not carry a score over the line.
            counts[max(place, line) if score >= self.threshold else min(place, line - 1)] += 1
        return counts

    def _column(self, place: int, y: float, count: int, unit: float, style: str) -> Column:
        left, right = self.x(self._edge(place)), self.x(self._edge(place + 1))
        return Column(left + 0.5, y, right - left - 1, count * unit, style, count)


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
