"""Conditions that anchors are collected under, and how far from them a call is.

A concept is found less surely where pictures are larger, steps are fewer or texts are longer than
they were for its anchors. A scorer's metadata keeps the conditions, so that a report can say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

FAR_SIDE = 1.5
"""A picture is far when a side is more than so many times as long, or as short."""
FAR_COUNT = 2.0
"""Steps and text tokens are far when there are more than so many times as many, or as few."""


@dataclass(frozen=True)
class Conditions:
    """Of one call, or of those that anchors were collected with.

    Attributes:
        height: Of the pictures, in pixels.
        width: The same.
        steps: Inference steps of the whole schedule.
        text_length: Text tokens of the prompt, with padding.
    """

    height: int
    width: int
    steps: int
    text_length: int

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} is {value!r}, a positive integer is expected")

    def far(self, call: Conditions) -> list[str]:
        """Say what of a call is far from these conditions, and what these are."""
        size, found = f"{self.width} x {self.height}", f"{call.width} x {call.height}"
        sides = ((self.height, call.height), (self.width, call.width))
        told = []
        if any(_ratio(*side) > FAR_SIDE for side in sides):
            told.append(f"pictures of {found} pixels, anchors were collected at {size}")
        for what, mine, its in (
            ("steps", self.steps, call.steps),
            ("text tokens", self.text_length, call.text_length),
        ):
            if _ratio(mine, its) > FAR_COUNT:
                told.append(f"{its} {what}, anchors were collected with {mine}")
        return told


def recorded_conditions(data: Any) -> list[Conditions]:
    """Read what a scorer's metadata holds; nothing where it holds none, as in older bundles."""
    try:
        return [Conditions(**item) for item in data]
    except (TypeError, ValueError):
        return []


def conditions_of(provenance: Mapping[str, Any]) -> list[dict[str, int]]:
    """Return the conditions that anchors were collected under, each once, for the metadata.

    None at all when a part of the anchors does not say: a call may be near to that part.
    """
    found: list[dict[str, int]] = []
    for part in provenance["parts"] if provenance.get("method") == "added" else [provenance]:
        try:
            height, width = part["size"]
            conditions = asdict(Conditions(height, width, part["steps"], part["text_length"]))
        except (KeyError, TypeError, ValueError):
            return []
        if conditions not in found:
            found.append(conditions)
    return found


def far_notes(
    members: Iterable[tuple[str, tuple[Conditions, ...]]], call: Conditions
) -> Iterator[str]:
    """Yield a note for each way in which a call is far from what concepts were collected under.

    Args:
        members: Each concept's slug with its conditions; a call that is near any of them is near.
        call: The conditions of the call.
    """
    slugs: dict[tuple[Conditions, ...], list[str]] = {}
    for slug, conditions in members:
        slugs.setdefault(conditions, []).append(slug)
    for conditions, those in slugs.items():
        told = min((each.far(call) for each in conditions), key=len, default=[])
        yield from (f"{what}; less surely found: {', '.join(those)}" for what in told)


def _ratio(one: int, other: int) -> float:
    return max(one, other) / min(one, other)
