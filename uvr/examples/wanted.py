"""Which example pictures a version has: each follows from its words, a seed and a number alone.

A picture has the same key whichever version asks for it, so that versions share what was drawn,
and two of them can be compared on the very same pictures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from concepts.anchors import AnchorSpace
from concepts.definition import ConceptDefinition
from concepts.digest import json_digest

MUST_CATCH, LOOK_ALIKE, BENIGN = "must-catch", "look-alike", "benign"
KINDS = (MUST_CATCH, LOOK_ALIKE, BENIGN)
PROMPTS, SCENES, COLLECTED, GIVEN = "prompts", "scenes", "collected", "given"
USUAL_COUNT = 24
"""Pictures of each kind, for each task."""
UNSEEN_SEED = 1_000_000
"""Collections begin with seed 0 unless told otherwise; what a version learned from flatters it."""


@dataclass(frozen=True)
class Wanted:
    """One picture to draw.

    Attributes:
        kind: One of ``KINDS``.
        source: ``PROMPTS`` where the model draws ``prompt``, ``SCENES`` where the testbed draws a
            scene, ``COLLECTED`` where it draws one that was collected, ``GIVEN`` where someone
            gives it.
        space: Digest of the anchor space: the model with its weights, taps and noise level.
        task: "t2i", "edit" or "check".
        prompt: What is drawn, "" of scenes.
        slug: The concept of a scene, the path of a given picture, "" of prompts.
        number: Its place among the pictures of one prompt, or among all that are alike.
        seed: Of all pictures; number n of a prompt is drawn from ``seed + n``.
        steps: Inference steps, 0 of scenes.
        size: Height and width in pixels.
    """

    kind: str
    source: str
    space: str
    task: str
    prompt: str
    slug: str
    number: int
    seed: int
    steps: int
    size: tuple[int, int]

    @property
    def key(self) -> str:
        """SHA-256 of what the picture follows from, shortened; its name in a cache."""
        return json_digest({**asdict(self), "size": list(self.size)})[:32]


@dataclass(frozen=True)
class Origin:
    """How the example pictures of one version and task come about.

    Attributes:
        source: ``PROMPTS`` or ``SCENES``.
        space: The anchor space.
        slug: The concept.
        prompts: By kind; empty of scenes.
        steps: Inference steps of drawn pictures, 0 of scenes.
        size: Height and width in pixels.
        seed: Of the pictures.
        seen: Whether the version's anchors were collected from pictures of this seed.
    """

    source: str
    space: AnchorSpace
    slug: str
    prompts: Mapping[str, Sequence[str]]
    steps: int
    size: tuple[int, int]
    seed: int
    seen: bool

    def wanted(self, count: int = USUAL_COUNT) -> tuple[Wanted, ...]:
        """So many pictures of each kind; prompts take turns."""
        return tuple(item for kind in KINDS for item in self._of_kind(kind, count))

    def _of_kind(self, kind: str, count: int) -> Iterator[Wanted]:
        prompts = [""] if self.source == SCENES else self.prompts[kind]
        for place in range(count if prompts else 0):
            number, turn = divmod(place, len(prompts))
            yield Wanted(
                kind=kind, source=self.source, space=self.space.digest, task=self.space.task,
                prompt=prompts[turn], slug=self.slug if self.source == SCENES else "",
                number=number, seed=self.seed, steps=self.steps, size=self.size,
            )  # fmt: skip


def origin_of(
    definition: ConceptDefinition,
    space: AnchorSpace,
    provenance: Mapping[str, Any],
    scenes: Sequence[str] = (),
    seed: int | None = None,
) -> Origin | None:
    """Say how a version's example pictures can be drawn, now and again.

    The prompts are those of the version's own definition, so that what its words say is seen.
    Pictures for editing, and finished ones, need scenes.

    Args:
        definition: The version's.
        space: One of its anchor spaces.
        provenance: Of the anchors there.
        scenes: Slugs of the concepts that the model brings labelled scenes of.
        seed: Of the pictures; by default one that they were not collected from.

    Returns:
        None where they cannot: whoever has pictures must give them.
    """
    parts = parts_of(provenance)
    about = next((part for part in parts if {"size", "steps"} <= part.keys()), None)
    source = PROMPTS if space.task == "t2i" else SCENES
    if about is None or (source == SCENES and definition.slug not in scenes):
        return None
    used = [_seeds(part) for part in parts]
    if seed is None:
        seed = next(
            start for start in range(UNSEEN_SEED, 2**63, UNSEEN_SEED)
            if not any(start in seeds for seeds in used)
        )  # fmt: skip
    height, width = about["size"]
    return Origin(
        source=source,
        space=space,
        slug=definition.slug,
        prompts={
            MUST_CATCH: definition.prompts,
            LOOK_ALIKE: definition.near_misses,
            BENIGN: definition.benign,
        },
        steps=int(about["steps"]) if source == PROMPTS else 0,
        size=(int(height), int(width)),
        seed=seed,
        seen=any(seed in seeds for seeds in used),
    )


def parts_of(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What was collected at once, one for each time that anchors were added."""
    return list(provenance["parts"]) if provenance.get("method") == "added" else [provenance]


def _seeds(part: Mapping[str, Any]) -> range:
    """Seeds that a collection drew from; scenes have one seed for all."""
    first = int(part.get("seed", 0))
    prompts = len(part.get("prompts", ())) + len(part.get("counter_prompts", ()))
    return range(first, first + max(1, prompts * int(part.get("seeds_per_prompt", 1))))
