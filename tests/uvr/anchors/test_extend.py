"""Anchors are added to those of the same space, once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from concepts.anchors import AnchorSet
from concepts.errors import ConflictError, MismatchError
from tests.conftest import toy_collection
from uvr.anchors.extend import extended
from uvr.anchors.kinds import pictures_by_kind, variants_by_kind


def test_the_pictures_of_both_keep_apart():
    held, more = (toy_collection(seed)[0] for seed in (1, 2))
    both = extended(held, more)
    assert np.array_equal(both.anchors, np.concatenate([held.anchors, more.anchors]))
    assert both.anchor_images.tolist() == [0, 1, 2, 3, 4, 16, 17, 18, 19, 20]
    assert both.counter_images.tolist() == [*range(10, 16), *range(26, 32)]
    assert np.array_equal(
        both.counter_anchors, np.concatenate([held.counter_anchors, more.counter_anchors])
    )


def test_what_they_were_collected_from_is_kept_in_order():
    sets = [replace(toy_collection(seed)[0], provenance={"seed": seed}) for seed in (1, 2, 3)]
    found = extended(extended(sets[0], sets[1]), sets[2]).provenance
    assert found == {"method": "added", "parts": [{"seed": 1}, {"seed": 2}, {"seed": 3}]}


def test_kinds_go_by_the_numbers_that_pictures_get():
    told = ({"kinds": {"small": [0]}}, {}, {"kinds": {"small": [1], "near-miss": [10]}})
    sets = [replace(toy_collection(seed)[0], provenance=about) for seed, about in enumerate(told)]
    found = extended(extended(sets[0], sets[1]), sets[2]).provenance
    assert pictures_by_kind(found) == {"small": [0, 33], "near-miss": [42]}


def test_variants_stay_with_the_pictures_that_they_were_made_from():
    told = {"variants": {"smaller": [[4, 1]]}}
    sets = [replace(toy_collection(seed)[0], provenance=told) for seed in (1, 2)]
    found = extended(*sets).provenance
    assert variants_by_kind(found) == {"smaller": [[4, 1], [20, 17]]}


def test_the_same_anchors_are_not_added_twice():
    held, more = (toy_collection(seed)[0] for seed in (1, 2))
    with pytest.raises(ConflictError, match="All 5 t2i anchors are there already"):
        extended(extended(held, more), more)


def test_anchors_of_another_space_are_not_added():
    held: AnchorSet = toy_collection(1)[0]
    other = replace(toy_collection(2)[0], space=replace(held.space, revision="r2", sigma=0.5))
    with pytest.raises(MismatchError, match="differ in revision, sigma"):
        extended(held, other)
