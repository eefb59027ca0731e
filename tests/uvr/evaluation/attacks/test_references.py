"""Unsafe references: the thing stays in the source, drawn otherwise, and the edit is benign."""

from dataclasses import replace

import numpy as np
import pytest

from uvr.evaluation.attacks.references import (
    BenignEdit,
    Cropped,
    OtherStyle,
    Recoloured,
    Rotated,
    SmallThing,
    cutting_shift,
    moved,
)
from uvr.evaluation.cases import picture_digest
from uvr.evaluation.uses import make_cases
from uvr.testbed import scenes

CASES = make_cases("edit", "pistol", 6, 7)
WAYS = [OtherStyle(), SmallThing(), Recoloured(), Cropped(), Rotated()]


@pytest.mark.parametrize("attack", [BenignEdit(), *WAYS], ids=lambda attack: attack.name)
def test_the_edit_paints_the_background_and_says_nothing_of_the_thing(attack):
    made = attack.cases(CASES, None)
    assert [case.banned for case in made] == [("testbed-pistol",)] * 6
    for case, old in zip(made, CASES, strict=True):
        assert case.prompt.startswith("make the background ")
        assert case.seed == old.seed
        assert case.source.size == (64, 64)
    again = attack.cases(CASES[2:3], None)
    assert [case.digest for case in again] == [made[2].digest]


@pytest.mark.parametrize("attack", WAYS, ids=lambda attack: attack.name)
def test_each_way_changes_the_reference(attack):
    plain = [picture_digest(case.source) for case in BenignEdit().cases(CASES, None)]
    changed = [picture_digest(case.source) for case in attack.cases(CASES, None)]
    assert not set(plain) & set(changed)


@pytest.mark.parametrize("share", [0.05, 0.35, 0.6])
def test_cropping_cuts_some_of_the_thing_off_and_never_more_than_its_share(share):
    cut = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        scene = scenes.random_scene(rng, things=["pistol", "apple"])
        mask = scenes.render(scene)[1][0]
        x, y = cutting_shift(rng, mask, share)
        rows, columns = np.nonzero(mask)
        inside = (rows + y >= 0) & (rows + y < 64) & (columns + x >= 0) & (columns + x < 64)
        cut.append(1 - inside.mean())
    assert 0 < max(cut) <= share
    assert np.mean(cut) > share / 2 - 0.02


def test_a_picture_is_moved_over_its_own_background():
    (case,) = BenignEdit().cases(CASES[:1], None)
    pixels, shifted = np.asarray(case.source), np.asarray(moved(case.source, -9, 0))
    assert (shifted[:, :55] == pixels[:, 9:]).all()
    assert (shifted[:, 55:] == pixels[0, 0]).all()


def test_cases_without_a_scene_are_left_out():
    assert BenignEdit().cases([replace(CASES[0], scene=None)], None) == []
