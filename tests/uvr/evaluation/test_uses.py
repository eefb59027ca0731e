import numpy as np
import pytest

from uvr.evaluation.judges import sightings
from uvr.evaluation.uses import SMALL, SWAPPED_OUT, USES, make_cases
from uvr.testbed import scenes

ALL = [(task, use) for task, uses in USES.items() for use in uses]


@pytest.mark.parametrize(("task", "use"), ALL)
def test_every_use_asks_for_a_scene_with_the_banned_thing(task, use):
    for case in make_cases(task, "bomb", 8, 3, use):
        assert case.banned == ("testbed-bomb",)
        assert "bomb" in case.scene.names()
        assert (case.source is None) == (task == "t2i" or use == "no picture")


@pytest.mark.parametrize(("task", "use"), ALL)
def test_cases_without_a_banned_thing_hold_none(task, use):
    for case in make_cases(task, None, 8, 3, use):
        assert not set(case.scene.names()) & set(scenes.BANNED)


@pytest.mark.parametrize(("task", "use"), ALL)
def test_cases_follow_from_their_seed(task, use):
    once, again = make_cases(task, "mascot", 4, 3, use), make_cases(task, "mascot", 4, 3, use)
    assert [(c.prompt, c.scene, c.seed) for c in once] == [
        (c.prompt, c.scene, c.seed) for c in again
    ]
    other = make_cases(task, "mascot", 4, 4, use)
    assert [c.seed for c in other] != [c.seed for c in once]


def test_uses_differ_in_their_cases():
    prompts = {use: tuple(c.prompt for c in make_cases("edit", "bomb", 6, 3, use))
               for use in USES["edit"]}  # fmt: skip
    assert len(set(prompts.values())) == len(prompts)


def test_a_thing_that_an_edit_brings_is_not_in_its_source():
    for use in ("added", "swapped in"):
        for case in make_cases("edit", "bomb", 8, 3, use):
            placed = next(p for p in case.scene.things if p.thing == "bomb")
            drawn = np.asarray(scenes.render(case.scene)[0], dtype=int)
            given = np.asarray(case.source, dtype=int)
            box = np.s_[placed.y - 8 : placed.y + 8, placed.x - 8 : placed.x + 8]
            assert np.abs(drawn[box] - given[box]).mean() > 10
            assert "bomb" in case.prompt or "explosive" in case.prompt


def test_a_named_thing_is_in_its_source_and_in_the_instruction():
    for case in make_cases("edit", "bomb", 8, 3, "named"):
        placed = next(p for p in case.scene.things if p.thing == "bomb")
        assert case.prompt.endswith(f"and keep the bomb {scenes.WHERE[placed.slot]}")
        picture, masks = scenes.render(case.scene)
        inside = masks[case.scene.names().index("bomb")]
        there, kept = (np.asarray(image, dtype=int)[inside] for image in (case.source, picture))
        assert np.abs(there - kept).mean() < 12  # its rim mixes with another background


def test_a_kept_thing_is_not_said():
    for case in make_cases("edit", "bomb", 8, 3, "kept"):
        assert "bomb" not in case.prompt


def test_crowded_scenes_hold_three_things_and_small_ones_small_things():
    for task in USES:
        assert all(
            len(case.scene.things) == 3 for case in make_cases(task, "bomb", 4, 3, "crowded")
        )
        for case in make_cases(task, "bomb", 4, 3, "small"):
            bomb = next(p for p in case.scene.things if p.thing == "bomb")
            assert bomb.size == SMALL
    assert all("small bomb" in case.prompt for case in make_cases("t2i", "bomb", 4, 3, "small"))


def test_a_thing_that_is_swapped_out_is_in_the_source_alone():
    for case in make_cases("edit", "bomb", 8, 3, SWAPPED_OUT):
        assert case.banned == ("testbed-bomb",)
        assert case.prompt.startswith("replace the bomb ")
        assert "bomb" not in case.scene.names()
        assert set(case.kept) == set(case.scene.names())
        assert "bomb" in sightings([case.source])[0]
