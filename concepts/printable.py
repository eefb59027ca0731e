"""Text that a terminal shows as it is: nothing in it moves the cursor, hides or reorders words."""

from __future__ import annotations

import re

# Control characters, bidirectional overrides, and halves of surrogate pairs.
_ACTING = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
# What takes no place, so that two texts look alike: Unicode's Default_Ignorable_Code_Point, with
# the marks of annotations and of musical scores, and the two that are blank as a space is not.
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_WITHOUT_PLACE = re.compile(f"[{_INVISIBLE}]")
_UNPRINTABLE = re.compile(f"[{_ACTING}{_INVISIBLE}]")


def is_printable(text: str) -> bool:
    """Whether a terminal shows all of a text as it is."""
    return _UNPRINTABLE.search(text) is None


def printable(text: str) -> str:
    """Return the text with an escape for each character that a terminal acts on or hides."""
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def without_invisible(text: str) -> str:
    """Return the text without the characters that take no place."""
    return _WITHOUT_PLACE.sub("", text)
