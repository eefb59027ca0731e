"""The page of a version's contact sheet: one file that can be mailed, printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from concepts.calibration import Calibration, Share
from concepts.instant import now
from console.evidence.cards import Strip, changed_strip, histogram_of, strips_of
from console.evidence.pictures import Pictured
from console.evidence.sheet import Record, calibration_of
from uvr.pages.chart import Histogram
from uvr.pages.page import render_page


@dataclass(frozen=True)
class Tile:
    """One figure in large print.

    Attributes:
        title: What it counts.
        share: Some of so many; None where there were none.
        good: Whether many are good, and not few.
    """

    title: str
    share: Share | None
    good: bool = False

    @property
    def style(self) -> str:
        """Whether something went wrong ("bad") or nothing did ("good")."""
        if self.share is None:
            return ""
        wrong = self.share.n - self.share.hits if self.good else self.share.hits
        return "bad" if wrong else "good"


@dataclass(frozen=True)
class Panel:
    """What a page shows of one model and task."""

    item: Pictured
    tiles: Sequence[Tile]
    strips: Sequence[Strip]
    changed: Strip | None
    histogram: Histogram | None
    calibration: Calibration | None

    @property
    def id(self) -> str:
        """Its name within the page."""
        space = self.item.place.space.space
        return f"{space.task}-{self.item.place.space.digest[:8]}"


def panel_of(item: Pictured, before: int | None = None) -> Panel:
    """Prepare one model and task."""
    return Panel(
        item=item,
        tiles=_tiles(item),
        strips=strips_of(item),
        changed=None if before is None else changed_strip(item, before),
        histogram=histogram_of(item),
        calibration=calibration_of(item.place.space.calibration),
    )


def sheet_page(record: Record, pictures: Sequence[Pictured], made_at: str | None = None) -> str:
    """Render a version's sheet.

    Args:
        record: What the registry knows of it.
        pictures: Its pictures, by model and task.
        made_at: When the page was made; now by default.
    """
    return render_page("sheet.html", **sheet_values(record, pictures, made_at))


def sheet_values(
    record: Record, pictures: Sequence[Pictured], made_at: str | None = None
) -> dict[str, Any]:
    """What the template ``sheet.html`` shows, for pages that hold more than it."""
    version = record.detail.version
    return {
        "record": record,
        "version": version,
        "definition": record.detail.definition,
        "panels": [panel_of(item, record.before) for item in pictures],
        "words": word_changes(record),
        "lines": threshold_changes(record),
        "collected": {item.place.space.digest: collected_words(item) for item in pictures},
        "made_at": made_at or now(),
    }


def _tiles(item: Pictured) -> list[Tile]:
    if item.examples is None:
        return []
    rates = item.examples.rates()
    tiles = [
        Tile("must-catch pictures are caught", rates.must_catch, good=True),
        Tile("look-alikes are wrongly caught", rates.look_alikes),
        Tile("ordinary pictures are wrongly caught", rates.benign),
    ]
    if item.examples.strayed():
        share = Share(len(item.examples.strayed()), item.examples.placed)
        tiles.insert(1, Tile("of those are caught for another thing in them", share))
    return [tile for tile in tiles if tile.share is not None]


_FIELDS = {
    "prompts": "what must be caught",
    "near_misses": "look-alikes that are allowed",
    "benign": "ordinary pictures",
    "paraphrases": "other words for it",
    "edits": "edit instructions",
}


def word_changes(record: Record) -> list[dict[str, Any]]:
    """What changed in the definition since the version before, in the words of the page."""
    if record.diff is None:
        return []
    return [
        {
            "name": _FIELDS.get(change.field, change.field.replace("_", " ")),
            "added": change.added or ([] if change.removed else [change.after]),
            "removed": change.removed or ([] if change.added else [change.before]),
        }
        for change in record.diff.definition
    ]


def threshold_changes(record: Record) -> list[dict[str, Any]]:
    """How the strictness of each task differs from the version before."""
    if record.diff is None:
        return []
    found = []
    for space in record.diff.spaces:
        before, after = space.before, space.after
        if before is None or after is None:
            word = "newly covered" if before is None else "no longer covered"
        elif space.anchors.added or space.anchors.removed:
            word = "collected anew, so that its numbers cannot be compared"
        elif space.strictness == "scored in another way":
            word = "scored in another way, so that its numbers cannot be compared"
        elif space.strictness == "the same":
            continue
        else:
            looser = space.strictness == "less strict"
            word = f"{'less' if looser else 'more'} is caught than before"
        found.append({"space": space, "word": word})
    return found


def collected_words(item: Pictured) -> str:
    """How the anchors of a place were collected, in a sentence for the small print."""
    about = item.place.provenance
    parts = about["parts"] if about.get("method") == "added" else [about]
    return "; then ".join(_part_words(part) for part in parts)


def _part_words(part: dict[str, Any]) -> str:
    conditions = ", ".join(
        f"{name} {value}"
        for name, value in (
            ("seed", part.get("seed")),
            ("steps", part.get("steps")),
            ("size", "x".join(map(str, part.get("size", ())))),
        )
        if value not in (None, "")
    )
    if part.get("method") == "prompts":
        return (
            f"{len(part['prompts'])} prompts of the concept and {len(part['counter_prompts'])} "
            f"others, {part['seeds_per_prompt']} pictures of each ({conditions})"
        )
    if part.get("method") == "images":
        return (
            f"{part['positives']} pictures of the concept and {part['benign']} others "
            f"({conditions})"
        )
    return "not recorded"
