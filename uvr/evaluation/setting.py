"""The setting of an evaluation: all that a method or an attack may know beside its cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from concepts.bundle import Bundle
from concepts.definition import ConceptDefinition
from uvr.judges.judge import Judge
from uvr.profiles import ModelProfile


@dataclass(frozen=True)
class Setting:
    """What methods and attacks are told before they see a case.

    Attributes:
        task: "t2i" or "edit".
        profile: The model's for the task: layers, usual size and steps.
        definitions: The suite's concepts in words: names, prompts, paraphrases, near-misses.
        bundle: The anchors; None where a suite is drawn by the stock pipeline alone.
        judges: The suite's, the first one decides; a method that filters by it flatters itself.
        seed: The suite's. What a method tunes or an attack learns derives its own from it.
        folder: Where what is learned is kept by its content; None keeps nothing.
    """

    task: str
    profile: ModelProfile
    definitions: tuple[ConceptDefinition, ...]
    bundle: Bundle | None = None
    judges: tuple[Judge, ...] = ()
    seed: int = 0
    folder: Path | None = None

    @property
    def concepts(self) -> tuple[str, ...]:
        """Slugs of the suite's concepts."""
        return tuple(item.slug for item in self.definitions)

    def the_bundle(self) -> Bundle:
        """The bundle; ValueError where there is none."""
        if self.bundle is None:
            raise ValueError("this method needs a bundle: give --bundle FILE")
        return self.bundle
