"""The pictures that a version learned from, drawn again as the provenance of its anchors tells.

They show what was collected. Their scores flatter the version: ``uvr.examples.wanted`` has others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from concepts.anchors import AnchorSpace
from uvr.anchors.kinds import NEAR_MISS, pictures_by_kind
from uvr.examples.wanted import (
    BENIGN,
    COLLECTED,
    KINDS,
    LOOK_ALIKE,
    MUST_CATCH,
    PROMPTS,
    USUAL_COUNT,
    Wanted,
    parts_of,
)
from uvr.testbed.samples import TESTBED_SCENES


@dataclass(frozen=True)
class Learned:
    """The pictures of one or several collections that can be drawn again.

    Attributes:
        space: The anchor space.
        slug: The concept.
        parts: What the provenance tells of each collection.
    """

    space: AnchorSpace
    slug: str
    parts: Sequence[Mapping[str, Any]]
    seen: bool = True

    @property
    def seed(self) -> int:
        """That the first of them were drawn from."""
        return int(self.parts[0]["seed"])

    def wanted(self, count: int = USUAL_COUNT) -> tuple[Wanted, ...]:
        """So many pictures of each kind, spread over all that were collected."""
        every = [item for part in self.parts for item in self._of(part)]
        of_kind = [[item for item in every if item.kind == kind] for kind in KINDS]
        return tuple(item for items in of_kind for item in _spread(items, count))

    def _of(self, part: Mapping[str, Any]) -> Iterator[Wanted]:
        """The pictures of one collection, in the order of their numbers."""
        height, width = part["size"]
        about: dict[str, Any] = {
            "space": self.space.digest, "task": self.space.task, "seed": int(part["seed"]),
            "size": (int(height), int(width)),
        }  # fmt: skip
        if part["method"] == PROMPTS:
            repeats = int(part["seeds_per_prompt"])
            prompts = [*part["prompts"], *part["counter_prompts"]]
            near = set(pictures_by_kind(part).get(NEAR_MISS, ()))
            shown = repeats * len(part["prompts"])
            for number in range(repeats * len(prompts)):
                kind = MUST_CATCH if number < shown else LOOK_ALIKE if number in near else BENIGN
                yield Wanted(
                    kind, PROMPTS, prompt=prompts[number // repeats], slug="", number=number,
                    steps=int(part["steps"]), **about,
                )  # fmt: skip
            return
        for number in range(part["positives"] + part["benign"]):
            kind = MUST_CATCH if number < part["positives"] else BENIGN
            yield Wanted(
                kind, COLLECTED, prompt="", slug=self.slug, number=number, steps=0, **about
            )


def learned_of(
    slug: str, space: AnchorSpace, provenance: Mapping[str, Any], scenes: Sequence[str] = ()
) -> Learned | None:
    """Say which of the pictures that a version learned from can be drawn again.

    Args:
        slug: The concept.
        space: One of the version's anchor spaces.
        provenance: Of the anchors there.
        scenes: Slugs of the concepts that the model brings labelled scenes of.

    Returns:
        None where all of them were given.
    """
    parts = [
        part
        for part in parts_of(provenance)
        if {"size", "steps", "seed"} <= part.keys()
        and (part.get("method") == PROMPTS or (slug in scenes and _are_scenes(part, space.task)))
    ]
    return Learned(space, slug, parts) if parts else None


def _are_scenes(part: Mapping[str, Any], task: str) -> bool:
    """Whether a collection took as many pictures as one from the testbed's scenes does."""
    count = TESTBED_SCENES.get(task, -1)
    return (part.get("positives"), part.get("benign")) == (count, 2 * count)


def _spread(items: Sequence[Wanted], count: int) -> list[Wanted]:
    """So many of some items, evenly spread; all where there are no more."""
    taken = min(count, len(items))
    return [items[place * len(items) // taken] for place in range(taken)]
