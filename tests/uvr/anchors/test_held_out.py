"""Which pictures the directions know that score a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from concepts.anchors import AnchorSet
from tests.conftest import toy_collection
from uvr.anchors.held_out import held_out_scores


def scores_of(anchor_set: AnchorSet, variants: dict[str, list[list[int]]]) -> np.ndarray:
    told = replace(anchor_set, provenance={"variants": variants})
    (scores,) = held_out_scores(told)
    return scores.anchors


def test_no_picture_is_scored_by_what_was_made_of_it():
    held = toy_collection(seed=1)[0]  # one anchor in each of the pictures 0 to 4
    random = np.random.default_rng(0)
    made = [random.normal(size=(1, held.space.dim)).astype(np.float32) for _ in range(2)]
    sets = [
        replace(
            held,
            anchors=np.concatenate([held.anchors, one]),
            anchor_images=np.append(held.anchor_images, 30).astype(np.int32),
        )
        for one in made
    ]
    first, second = (scores_of(one, {"smaller": [[30, 2]]}) for one in sets)
    assert first[2] == second[2]
    assert (first[[0, 1, 3, 4]] != second[[0, 1, 3, 4]]).all()
    first, second = (scores_of(one, {}) for one in sets)
    assert first[2] != second[2]  # as another picture it would be known
