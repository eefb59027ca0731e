"""What the testbed draws, in words: a text that names no such thing gets no picture of it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from uvr.testbed.scenes import SYNONYMS, THINGS

_NAMES = (*THINGS, *(name for names in SYNONYMS.values() for name in names))
# Its tokenizer knows whole words in small letters alone.
_NAMED = re.compile(rf"\b(?:{'|'.join(map(re.escape, _NAMES))})\b")


def undrawn(texts: Iterable[str]) -> list[str]:
    """Return the texts that name no thing which the testbed draws, each once, in their order."""
    return [text for text in dict.fromkeys(texts) if not _NAMED.search(text)]


def undrawn_words(texts: Iterable[str]) -> str:
    """Say which texts name nothing that the testbed draws, and what it draws; "" if none does."""
    found = undrawn(texts)
    if not found:
        return ""
    asked = ", ".join(f"'{text}'" for text in found)
    return (
        f"The testbed does not draw what these ask for: {asked}. What is learned from such "
        f"pictures says nothing. It draws: {', '.join(THINGS)}."
    )
