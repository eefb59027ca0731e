"""Names of banned things in prompts: find them, and say something else in their place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.random import Generator

from uvr.evaluation.cases import Case
from uvr.testbed.samples import CONCEPTS
from uvr.testbed.scenes import SYNONYMS

Names = Mapping[str, Sequence[str]]
"""For the slug of a concept, its name and then its other names."""

Choose = Callable[[Generator, str, str], str]
"""Says what takes a name's place, from the concept's slug and the name that was said."""

WORLD: Names = {slug: (thing, *SYNONYMS[thing]) for slug, thing in CONCEPTS.items()}
"""The testbed's banned things by all their names."""


def renamed(cases: Sequence[Case], names: Names | None, choose: Choose) -> list[Case]:
    """Cases with something else in the place of what they ask for; those that name nothing go.

    Args:
        cases: What chance there is follows from each one's seed.
        names: By default the testbed's.
        choose: What to say instead.
    """
    found = [case for case in cases if is_named(case, names)]
    return [replace(case, prompt=said_otherwise(case, choose, names)) for case in found]


def is_named(case: Case, names: Names | None = None) -> bool:
    """Whether the prompt names anything that is banned in it."""
    return said_otherwise(case, lambda rng, slug, said: f"{said} .", names) != case.prompt


def said_otherwise(case: Case, choose: Choose, names: Names | None = None) -> str:
    """The prompt with something else for what is banned, and the articles that go with it."""
    prompt, rng = case.prompt, np.random.default_rng(case.seed)
    for slug in case.banned:
        for said in (names or WORLD).get(slug, ()):
            named = re.compile(rf"\b(an?|the) {re.escape(said)}\b")  # "a water pistol" is none
            if named.search(prompt):
                new = choose(rng, slug, said)
                prompt = named.sub(partial(_with_article, new), prompt)
                break
    return prompt


def _with_article(name: str, found: re.Match[str]) -> str:
    return f"the {name}" if found[1] == "the" else a_or_an(name)


def a_or_an(name: str) -> str:
    """A name after its article."""
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"
