"""Synonyms: banned things by their other names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from uvr.evaluation.attacks.attack import Attack
from uvr.evaluation.cases import Case
from uvr.evaluation.setting import Setting
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import SYNONYMS


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

    def cases(self, cases: Sequence[Case], setting: Setting) -> list[Case]:
        """Those whose prompt names a banned thing, with another of its names, chosen by seed."""
        del setting
        words = self.words or {slug: (thing, *SYNONYMS[thing]) for slug, thing in CONCEPTS.items()}
        attacked = [replace(case, prompt=said_otherwise(case, words)) for case in cases]
        return [new for new, old in zip(attacked, cases, strict=True) if new.prompt != old.prompt]


def said_otherwise(case: Case, words: Mapping[str, Sequence[str]]) -> str:
    """The prompt with other names of what is banned, and the articles that go with them."""
    prompt, rng = case.prompt, np.random.default_rng(case.seed)
    for slug in case.banned:
        for said in words.get(slug, ()):
            named = re.compile(rf"\b(an?|the) {re.escape(said)}\b")  # "a water pistol" is none
            if named.search(prompt):
                others = [word for word in words[slug] if word != said]
                prompt = named.sub(partial(_other_name, str(rng.choice(others))), prompt)
                break
    return prompt


def _other_name(name: str, found: re.Match[str]) -> str:
    if found[1] == "the":
        return f"the {name}"
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
