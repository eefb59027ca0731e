"""Pictures that are not what their folder says are told by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from concepts.anchors import AnchorSet
from tests.uvr.conftest import space_of
from uvr.anchors.doubts import doubts, foreseen, left_out
from uvr.anchors.exemplars import Exemplars
from uvr.anchors.extend import extended
from uvr.profiles import ModelProfile
from uvr.sample import Sample

PATCHES, DIM = 6, 64


def collected(profile: ModelProfile, shown: list[bool], *, positives: int, seed: int) -> AnchorSet:
    """Pictures of which some show the concept in their first patch, whatever they pass for."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(len(shown), PATCHES, DIM))
    features[np.array(shown), 0, 0] += 12
    numbers = np.repeat(np.arange(len(shown))[:, None], PATCHES, axis=1)
    anchors = np.zeros(numbers.shape, dtype=bool)
    anchors[:positives, 0] = shown[:positives]
    counters = ~anchors
    counters[:positives, 0] = False
    return AnchorSet(
        space_of(profile), features[anchors], numbers[anchors], features[counters],
        numbers[counters], {"method": "images", "seed": seed},
    )  # fmt: skip


def samples(folder: str, masks: list[bool | None]) -> list[Sample]:
    return [
        Sample(None, None if mask is None else np.full((4, 4), mask), "", f"{folder}/{place}.png")
        for place, mask in enumerate(masks)
    ]


@pytest.mark.parametrize("first", [0, 16])
def test_a_benign_picture_that_matches_and_a_mask_without_anchors_are_told(t2i_profile, first):
    shown = [True] * 6 + [False] * 2 + [False] * 7 + [True]
    found = collected(t2i_profile, shown, positives=8, seed=1)
    if first:
        found = extended(collected(t2i_profile, [*shown[:15], False], positives=8, seed=2), found)
    positives = samples("art", [True] * 6 + [False, True])
    told = list(doubts(found, positives, samples("other", [None] * 8), {}, first=first))
    assert told == [
        "The mask of 'art/6.png' covers nothing, so the picture gives no anchors. A mask is white "
        "where the picture shows the concept.",
        "The mask of 'art/7.png' covers less than 35% of every patch, so the picture gives no "
        "anchors. Crop it closer to the concept.",
        "'other/7.png' is among the benign pictures and matches the concept as t2i pictures of it "
        "do. If it shows the concept, take it out: it raises the threshold.",
    ]


def test_pictures_that_nobody_named_are_not_told_of(t2i_profile):
    shown = [True] * 4 + [False] * 3 + [True]
    positives = [Sample(None, np.ones((4, 4)))] * 4
    found = collected(t2i_profile, shown, positives=4, seed=1)
    assert list(doubts(found, positives, [Sample(None)] * 4, {})) == []


def test_prompts_that_the_testbed_does_not_draw_are_foreseen(ball):
    asked = replace(ball, prompts=("a dragon",), near_misses=("a cat", "a cherry"))
    (said,) = foreseen(asked, Exemplars(), "testbed", ())
    assert said.startswith("The testbed does not draw what these ask for: 'a dragon', 'a cherry'.")
    given = Exemplars(images=Path("art"), benign=Path("other"))
    nothing = [
        (given, "testbed", ()),
        (Exemplars(), "testbed", ("edit",)),
        (Exemplars(), "o/m", ()),
    ]
    assert [foreseen(asked, *more) for more in nothing] == [[], [], []]


def test_drawn_pictures_without_anchors_are_counted_with_what_was_asked_for(t2i_profile, ball):
    asked = replace(
        ball, prompts=("a hat", "a dragon"), near_misses=("a cat",), benign=(),
        parameters={"seeds_per_prompt": 4},
    )  # fmt: skip
    shown = [True] * 4 + [False] * 4 + [False] * 4
    found = collected(t2i_profile, shown, positives=8, seed=1)
    assert list(left_out(found, asked)) == [
        "4 of 8 pictures that were drawn of it for t2i show nothing that stands out from the "
        "others, so they give no anchors and are not counted in what is found. Asked for: "
        "'a dragon'. See whether the model draws it."
    ]
    all_shown = collected(t2i_profile, [True] * 8 + [False] * 4, positives=8, seed=1)
    assert list(left_out(all_shown, asked)) == []
