"""Text that a terminal shows as it is: nothing in it moves the cursor, hides or reorders words."""

from __future__ import annotations

import re

# Control characters, bidirectional overrides, and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def is_printable(text: str) -> bool:
    """Whether a terminal shows all of a text as it is."""
    return _UNPRINTABLE.search(text) is None


def printable(text: str) -> str:
    """Return the text with an escape for each character that a terminal would act on."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
