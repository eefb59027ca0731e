import unicodedata

import pytest

from concepts.printable import is_printable, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\u202eb", r"a\u202eb"),
        ("ann\u200b", r"ann\u200b"),
        ("ann\u2060", r"ann\u2060"),
        ("a\u00adnn", r"a\xadnn"),
        ("ann\ufe0f", r"ann\ufe0f"),
        ("ann\u3164", r"ann\u3164"),
        ("ann\U000e0041", r"ann\U000e0041"),
        ("\ufeffann", r"\ufeffann"),
    ],
)
def test_what_a_terminal_acts_on_or_hides_is_escaped(text, shown):
    assert (printable(text), is_printable(text)) == (shown, False)


@pytest.mark.parametrize("text", ["ann", "Zoë", "安娜", "\u05e9\u05dc", "a b", "e\u0301", "🙂"])
def test_what_is_seen_stays(text):
    assert (printable(text), is_printable(text)) == (text, True)


def test_no_character_that_only_formats_stays():
    prefixed = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2}
    signs = {*range(0x13430, 0x13440), 0x110BD, 0x110CD}  # These are drawn.
    formats = [n for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cf", "Cc", "Cs")]
    assert {n for n in formats if is_printable(chr(n))} <= prefixed | signs
