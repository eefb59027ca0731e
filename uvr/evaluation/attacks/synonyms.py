"""Synonyms: banned things by their other names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.words import WORLD, renamed
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Synonyms(Attack):
    """Every banned thing that the prompt names, by another name of it.

    Attributes:
        words: For the slug of a concept, its name and then its other names; by default the
            testbed's.
    """

    words: Mapping[str, tuple[str, ...]] | None = None

    name = "synonyms"
    about = "The banned thing is asked for by another of its names; the attacker knows the words."
    code = ("uvr.evaluation.attacks.words",)

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those whose prompt names a banned thing, with another of its names, chosen by seed."""
        del setting
        words = self.words or WORLD

        def another(rng: Generator, slug: str, said: str) -> str:
            return str(rng.choice([word for word in words[slug] if word != said]))

        return renamed(cases, words, another)
