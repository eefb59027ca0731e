"""What an event changed is said, as far as its details tell."""

import pytest

from uvr.pages.events import changed_words

MOVED = {"testbed t2i": {"before": [38.55, 7], "after": [5000, 7]}}
GROWN = {"testbed edit": {"before": [2, 1], "after": [2, 1.5]}}


@pytest.mark.parametrize(
    ("action", "details", "told"),
    [
        ("channel.move", {"bundle": "policy", "sequence": 2, "before": 1},
         "from policy@1 to policy@2"),
        ("channel.move", {"bundle": "policy", "sequence": 1}, "to policy@1"),
        ("version.edit", {"thresholds": MOVED, "before": "a" * 64},
         "line of pictures drawn from a text (testbed): 38.55 to 5000"),
        ("version.add", {"copied": 1, "thresholds": MOVED | GROWN},
         "a copy of version 1; line of pictures drawn from a text (testbed): 38.55 to 5000; "
         "growing of edited pictures (testbed): 1 to 1.5"),
        ("version.edit", {"content_digest": "b" * 64}, ""),
        ("exemplar.mask", {"ids": [7], "mask": True}, "picture 7"),
        ("exemplar.keep", {"ids": [7, 8]}, "pictures 7, 8"),
        ("source.forget", {"ids": [7]}, ""),
    ],
)  # fmt: skip
def test_what_an_event_changed_is_said(action, details, told):
    assert changed_words(action, details) == told
