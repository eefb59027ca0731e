"""A call that is far from what anchors were collected under is told, and one near it is not."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from uvr.conditions import Conditions, conditions_of, far_notes, recorded_conditions

USUAL = Conditions(height=64, width=96, steps=16, text_length=32)
PART = {"size": [64, 96], "steps": 16, "text_length": 32}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, []),
        ({"height": 96, "width": 64, "steps": 32, "text_length": 16}, []),
        ({"height": 97}, ["pictures of 96 x 97 pixels, anchors were collected at 96 x 64"]),
        ({"width": 63}, ["pictures of 63 x 64 pixels, anchors were collected at 96 x 64"]),
        ({"steps": 7}, ["7 steps, anchors were collected with 16"]),
        (
            {"steps": 33, "text_length": 65},
            [
                "33 steps, anchors were collected with 16",
                "65 text tokens, anchors were collected with 32",
            ],
        ),
    ],
)
def test_what_is_far_is_named_with_what_was_expected(changes, told):
    assert USUAL.far(replace(USUAL, **changes)) == told


def test_concepts_of_the_same_conditions_share_a_note():
    other = replace(USUAL, steps=40)
    members = [("ball", (USUAL,)), ("cup", ()), ("hat", (USUAL,)), ("star", (USUAL, other))]
    assert list(far_notes(members, other)) == [
        "40 steps, anchors were collected with 16; less surely found: ball, hat"
    ]
    assert list(far_notes(members, USUAL)) == []


def test_each_condition_of_added_anchors_is_kept_once():
    later = {**PART, "steps": 20}
    found = conditions_of({"method": "added", "parts": [PART, {**PART, "seed": 1}, later]})
    assert found == [asdict(USUAL), asdict(replace(USUAL, steps=20))]
    assert recorded_conditions(found) == [USUAL, replace(USUAL, steps=20)]


@pytest.mark.parametrize(
    "provenance", [{}, {"size": [64, 96]}, {"method": "added", "parts": [PART, {"steps": 16}]}]
)
def test_anchors_of_which_a_part_does_not_say_have_none(provenance):
    assert conditions_of(provenance) == []


@pytest.mark.parametrize("data", [None, 3, [None], [{"steps": 3}], [{**asdict(USUAL), "steps": 0}]])
def test_metadata_that_holds_no_conditions_says_nothing(data):
    assert recorded_conditions(data) == []
