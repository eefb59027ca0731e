"""One slider over the scores of a version's example pictures, and a draft of where it stands.

Nothing is drawn: a picture's score stays, and only the line that it is compared with moves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.responses import Response

from concepts.calibration import Share
from concepts.errors import InputError, NotFoundError
from console.call import Call, go_to
from console.evidence.cards import Card, card_of
from console.evidence.page import Panel
from console.pages.pictures import Pictures, pictures_of
from registry.answers import VersionDetail, VersionInfo, VersionSpace
from uvr.examples.examples import Example, Examples

KINDS = (
    ("must-catch", "must-catch pictures are caught", True),
    ("look-alike", "look-alikes are wrongly caught", False),
    ("benign", "ordinary pictures are wrongly caught", False),
)
EDGE = 0.05
"""How far the slider goes beyond the scores, as a share of their span."""


@dataclass(frozen=True)
class Moved:
    """A picture, and on which side of the line it lies."""

    kind: str
    score: float
    caught: bool
    card: Card | None


@dataclass(frozen=True)
class Count:
    """How many pictures of a kind are caught.

    Attributes:
        kind: Of the pictures.
        title: What is counted.
        good: Whether many are good.
        caught: How many are, of ``n``.
        n: How many there are.
        spans: 95% intervals of 0 to ``n`` of them in words, so that a script need not reckon.
    """

    kind: str
    title: str
    good: bool
    caught: int
    n: int
    spans: tuple[str, ...]

    @property
    def spans_json(self) -> str:
        """The intervals as JSON."""
        return json.dumps(self.spans)


@dataclass(frozen=True)
class Slider:
    """The pictures of one use of a model about a line.

    Attributes:
        space: Of their anchors.
        line: A picture with score >= this is caught.
        low: Where the slider begins.
        high: Where it ends.
        counts: How many of each kind are caught.
        pictures: The surest first.
    """

    space: VersionSpace
    line: float
    low: float
    high: float
    counts: tuple[Count, ...]
    pictures: tuple[Moved, ...]


def strictness(call: Call) -> Response:
    """Show what a line would catch, by default the version's own."""
    return _shown(call, unveiled=False)


def unveil(call: Call) -> Response:
    """The same, with pictures that are blurred until somebody asks for them."""
    return _shown(call, unveiled=True)


def save(call: Call) -> Response:
    """Keep a line as a draft: this version where it is one, else a copy of it."""
    slug, number, form = call.path["slug"], call.path["number"], call.form
    version = call.registry.versions.get(slug, number)
    space = _space(version, form.text("space"))
    line = form.number("line", -1e6, 1e6)
    # The regions grow as they did, from the line that moved.
    thresholds = {space.digest: (line, line - (space.seed_threshold - space.grow_threshold))}
    versions = call.registry.versions
    change = versions.edit if version.state in ("draft", "in_review") else versions.copy
    made = change(
        slug,
        number,
        actor=call.actor,
        thresholds=thresholds,
        reason=form.text("reason"),
        expect_digest=form.text("content"),
    )
    return go_to(f"/concepts/{slug}/{made.number}", "draft")


def _shown(call: Call, *, unveiled: bool) -> Response:
    detail = call.registry.versions.detail(call.path["slug"], call.path["number"])
    pictures = pictures_of(call, detail, unveiled=unveiled)
    panel = _chosen(detail, pictures, call.query.get("space", ""))
    slider = None
    if panel is not None and panel.item.examples is not None:
        slider = _slider(panel, panel.item.examples, call.query.get("line"), pictures.veiled)
    return call.page(
        "strictness.html", detail=detail, version=detail.version, pictures=pictures, slider=slider,
        panel=panel,
    )  # fmt: skip


def _chosen(detail: VersionDetail, pictures: Pictures, digest: str) -> Panel | None:
    """Return the use of a model that an address names, by default the first with pictures."""
    if digest:
        space = _space(detail.version, digest)
        return next(item for item in pictures.panels if item.item.place.space == space)
    drawn = [item for item in pictures.panels if item.item.examples is not None]
    return next(iter(drawn or pictures.panels), None)


def _space(version: VersionInfo, digest: str) -> VersionSpace:
    for item in version.spaces:
        if item.digest == digest:
            return item
    raise NotFoundError(
        f"Version {version.number} of '{version.slug}' has no example pictures in that use."
    )


def _slider(panel: Panel, examples: Examples, asked: str | None, veiled: bool) -> Slider:
    line = examples.threshold if asked is None else _line(asked)
    found = sorted(examples.all, key=lambda item: (-item.score, item.key))
    scores = [item.score for item in found] + [line, examples.threshold]
    edge = EDGE * ((max(scores) - min(scores)) or 1.0)
    return Slider(
        space=panel.item.place.space,
        line=line,
        low=min(scores) - edge,
        high=max(scores) + edge,
        counts=tuple(
            _count(kind, title, good, [item for item in found if item.kind == kind], line)
            for kind, title, good in KINDS
        ),
        pictures=tuple(
            Moved(one.kind, one.score, one.caught(line), None if veiled else card_of(one, examples))
            for one in found
        ),
    )


def _count(kind: str, title: str, good: bool, found: Sequence[Example], line: float) -> Count:
    n = len(found)
    spans = tuple(_span(Share(hits, n)) for hits in range(n + 1)) if n else ("",)
    return Count(kind, title, good, sum(item.caught(line) for item in found), n, spans)


def _span(share: Share) -> str:
    low, high = share.interval
    return f"{low:.0%} - {high:.0%}"


def _line(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InputError(f"The line must be a number, not '{text}'.") from error
