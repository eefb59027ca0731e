"""What a definition may not name: nothing here collects, draws or stores sexual content on minors.

A definition is refused where

1. any text of it names the sexual abuse of minors;
2. it is sexual, by its category "nudity" or by a word in any text, and any text names minors, in
   near-misses too: those are drawn beside the rest. A sentence of the scope may exclude them;
3. it is of an object, and the thing that its name or slug names is a minor.

A character may be a child, and a child may hold an object, as long as nothing is sexual. Texts that
were stored before these rules are still read, so that their versions can be revoked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

from concepts.content_terms import IS_SEXUAL, NAMES_ABUSE, NAMES_MINORS, Terms, readings
from concepts.definition import ConceptDefinition
from concepts.errors import ContentError
from concepts.fields import LISTS, TEXTS

_EXCLUDES = re.compile(
    r"\b(not?|nor|never|without|except|exclud(es?|ed|ing)|separate|elsewhere|only adults)\b"
)


def refuse_minors(definition: ConceptDefinition) -> None:
    """Check that a definition names nothing that this system must not hold.

    Raises:
        ContentError: It names minors where it must not.
    """
    texts = dict(_texts(definition))
    if found := _first(NAMES_ABUSE, texts):
        _refuse(definition, *found, "stands for the sexual abuse of minors")
    minor = _first(NAMES_MINORS, texts)
    if minor and definition.category == "nudity":
        _refuse(definition, *minor, "names minors, and its category is nudity")
    if minor and (sexual := _first(IS_SEXUAL, texts)):
        _refuse(definition, *minor, f"names minors, and '{sexual[1]}' in its {sexual[0]} is sexual")
    if definition.category == "object":
        for place in ("name", "slug"):
            # Its last word is the thing: of "toy pistol for children" that is the pistol.
            thing = re.split(r"\b(?:for|against|by)\b", readings(texts[place])[0])[0].split()[-1:]
            if term := NAMES_MINORS.first_in(" ".join(thing)):
                _refuse(definition, place, term, "names minors, and they would be what is banned")


def _texts(definition: ConceptDefinition) -> Iterator[tuple[str, str]]:
    """The definition's texts by their place, the scope without what it excludes."""
    for name in TEXTS:
        if name not in ("category", "scope"):
            yield name, getattr(definition, name)
    sentences = re.split(r"(?<=[.;!?])\s", definition.scope)
    yield "scope", " ".join(part for part in sentences if not _EXCLUDES.search(part.casefold()))
    for name in LISTS:
        for index, text in enumerate(getattr(definition, name)):
            yield f"{name}[{index}]", text


def _first(terms: Terms, texts: dict[str, str]) -> tuple[str, str] | None:
    """The first place with such a term, and the term."""
    found = ((place, terms.first_in(text)) for place, text in texts.items())
    return next(((place, term) for place, term in found if term), None)


def _refuse(definition: ConceptDefinition, place: str, term: str, why: str) -> NoReturn:
    raise ContentError(
        f"The definition of '{definition.slug}' is refused: '{term}' in its {place} {why}. Content "
        "that sexualises minors is never collected, drawn or stored here: use a separate system "
        "that is authorised by law for it. If no minor is meant, say it in other words."
    )
