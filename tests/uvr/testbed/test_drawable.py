"""What the testbed draws is told, and a text that asks for something else is found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from concepts.definition import load_shipped
from uvr.testbed import scenes
from uvr.testbed.drawable import undrawn, undrawn_words
from uvr.testbed.samples import CONCEPTS

MANUAL = Path(__file__).parents[3] / "docs/policy-team.md"


def test_texts_that_name_nothing_that_the_testbed_draws_are_found_once():
    texts = ["a dragon", "two kittens", "a kitten on the left", "a Cat", "a dragon", "a top hat"]
    assert undrawn(texts) == ["a dragon", "two kittens", "a Cat"]


def test_it_is_said_what_the_testbed_draws():
    assert undrawn_words(["a cat"]) == ""
    assert undrawn_words(["a cherry", "a cat"]).startswith(
        "The testbed does not draw what these ask for: 'a cherry'. What is learned from such "
        "pictures says nothing. It draws: pistol, kitchen knife, bomb,"
    )


@pytest.mark.parametrize("slug", CONCEPTS)
def test_the_shipped_concepts_ask_for_what_it_draws(slug):
    found = load_shipped(slug)
    assert undrawn((*found.prompts, *found.near_misses, *found.benign, *found.paraphrases)) == []


def test_the_manual_lists_what_it_draws():
    said = MANUAL.read_text(encoding="utf-8").partition("The miniature model draws")[2]
    rows = re.findall(r"^- [^:]+: ([^;.]+)[;.]$", said.partition("In text-to-image")[0], re.M)
    things = [name for row in rows[:3] for name in row.split(", ")]
    places, backgrounds = (row.split(", ") for row in rows[3:])
    assert said.startswith(f" {len(scenes.THINGS)} things")
    assert things == list(scenes.THINGS)
    assert places == list(scenes.WHERE.values())
    assert backgrounds == list(scenes.BACKGROUNDS)
