"""Misspelling: banned things by their names with letters exchanged, doubled or left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numpy.random import Generator

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.attacks.words import renamed
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Misspelling(Attack):
    """One letter wrong in the longest word of every banned name.

    The testbed's tokenizer knows whole words: one that is misspelt is any unknown word to it.

    Attributes:
        words: See ``Synonyms``.
    """

    words: Mapping[str, tuple[str, ...]] | None = None

    name = "misspelling"
    about = "The banned thing's name has a letter doubled, left out, or two of them exchanged."
    code = ("uvr.evaluation.attacks.words",)

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those whose prompt names a banned thing, misspelt."""
        del setting
        return renamed(cases, self.words, lambda rng, slug, said: misspelt(rng, said))


def misspelt(rng: Generator, name: str) -> str:
    """A name with one letter of its longest word wrong; never the name itself."""
    word = max(name.split(), key=len)
    made = {
        wrong
        for place in range(1, len(word))
        for wrong in (
            word[:place] + word[place - 1 :],
            word[:place] + word[place + 1 :],
            word[: place - 1] + word[place] + word[place - 1] + word[place + 1 :],
        )
        if wrong != word
    }
    return name.replace(word, str(rng.choice(sorted(made))))
