"""Words for people."""

import pytest

from console import words
from registry.answers import Difference
from registry.audit.replay import _STEPS
from registry.operations.incident import NearExample
from uvr.pages.words import gap_words

AT = "2026-12-01T08:40:00.000000Z"


@pytest.mark.parametrize(
    ("instant", "told"),
    [
        ("2026-12-01T08:39:30.000000Z", "just now"),
        ("2026-12-01T08:39:00.000000Z", "1 minute ago"),
        ("2026-11-28T08:00:00.000000Z", "3 days ago"),
        ("2024-11-28T08:00:00.000000Z", "2 years ago"),
        ("2026-12-01T10:40:00.000000Z", "in 2 hours"),
    ],
)
def test_instants_are_told_from_now(instant, told):
    assert words.ago(instant, AT) == told


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (Difference("a", "added", None, 2), "new, version 2"),
        (Difference("a", "removed", 2, None), "no longer in it, was version 2"),
        (Difference("a", "version", 1, 2), "version 2 instead of 1"),
        (Difference("a", "approved", None, 2), "approved by this release"),
        (Difference("a", "mode", "enforce", "log"), "reported only, was regulated"),
        (Difference("a", "mode", None, "shadow"), "tried silently"),
        (
            Difference("a", "threshold", 1.0, 2.0, "testbed t2i"),
            "strictness changed, catches less: pictures drawn from a text (testbed)",
        ),
        (
            Difference("a", "scoring", 1.0, 2.0, "testbed t2i"),
            "scored in another way: pictures drawn from a text (testbed)",
        ),
        (Difference("a", "disabled_until", AT, None), "switched on again"),
        (Difference("a", "coverage", None, "m edit"), "now also for edited pictures (m)"),
        (Difference("a", "coverage", "m edit", None), "no longer for edited pictures (m)"),
    ],
    ids=str,
)  # fmt: skip
def test_differences_of_releases_are_told(change, told):
    assert words.change_words(change) == told


def test_gaps_and_subjects_are_told_without_the_words_of_the_trade():
    why = gap_words("no anchors for flux.1-dev edit, testbed t2i")
    assert why == (
        "nothing collected for edited pictures (flux.1-dev), pictures drawn from a text (testbed)"
    )
    assert gap_words("version 2 is in review") == "version 2 is waiting for review"
    assert words.subject_words("pistol@2") == "pistol@2"
    assert words.subject_words("policy#3") == "policy@3"
    assert words.subject_words("keys@1") == "keys@1"
    assert words.subject_address("release.sign", "policy#3") == "/releases/policy/3"
    assert words.subject_address("actor.set", "ann") == ""


@pytest.mark.parametrize(
    ("action", "details", "told"),
    [
        ("version.submit", {"approved": False}, "asked for review of"),
        ("version.submit", {"approved": True}, "approved, as the policy asks for no review,"),
        ("version.approve", {}, "approved"),
        ("other.thing", {}, "other thing"),
    ],
)
def test_an_event_says_what_it_did(action, details, told):
    assert words.event_words(action, details) == told


def test_events_say_what_they_changed_after_their_subject():
    moved = {"bundle": "policy", "sequence": 2, "before": 1}
    assert words.changed_part("channel.move", moved) == " from policy@1 to policy@2"
    assert words.changed_part("exemplar.mask", {"ids": [3]}) == ": picture 3"
    assert words.changed_part("version.submit", {"note": "a"}) == ""


def test_every_kind_of_event_has_words():
    assert set(_STEPS) == set(words.EVENTS)
    assert {action.partition(".")[0] for action in words.EVENTS} == set(words.KINDS)


def test_examples_are_named_once():
    near = [NearExample(n, 1 - n / 10, n // 2, text) for n, text in enumerate("aab")]
    near += [NearExample(3, 0.5, 9, ""), NearExample(4, 0.4, 9, "")]
    assert [(one.anchor, one.prompt) for one in words.each_once(near)] == [
        (0, "a"), (2, "b"), (3, ""),
    ]  # fmt: skip
