"""Prototypes: the groups that a scorer is fitted with, and that a listing shows."""

import numpy as np
import pytest

from concepts.anchors import AnchorSet, AnchorSpace
from concepts.prototypes import group_by_direction, prototypes
from uvr.anchors.directions import fit_directions

DIM = 20
SPACE = AnchorSpace("tiny", "", "t2i", ("a",), DIM, 0.5)


def looks(sizes, seed=0):
    """Vectors of any length that point in so many directions, and which one each points in."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    vectors = 20 * np.eye(len(sizes), DIM)[truth] + random.normal(size=(len(truth), DIM))
    return truth, vectors * random.uniform(0.1, 9, size=(len(truth), 1))


def anchor_set(anchors, centre=0.0):
    random = np.random.default_rng(7)
    counters = centre + random.normal(size=(400, DIM))
    return AnchorSet(
        SPACE, anchors, np.arange(len(anchors)), counters, np.repeat(np.arange(1000, 1100), 4), {}
    )


def test_groups_are_those_that_are_there():
    truth, vectors = looks([40, 30, 20])
    found = group_by_direction(vectors, 3)
    assert {tuple(rows) for rows in found} == {
        tuple(np.flatnonzero(truth == label)) for label in range(3)
    }


@pytest.mark.parametrize("count", [1, 5, 64])
def test_every_vector_is_in_one_group_and_no_group_is_empty(count):
    random = np.random.default_rng(1)
    vectors = np.concatenate([random.normal(size=(20, 6)), np.ones((20, 6)), np.zeros((2, 6))])
    found = group_by_direction(vectors, count)
    assert 1 <= len(found) <= count
    assert all(rows.size for rows in found)
    assert sorted(np.concatenate(found)) == list(range(42))
    for rows, again in zip(found, group_by_direction(vectors, count), strict=True):
        np.testing.assert_array_equal(rows, again)


def test_prototypes_are_the_groups_by_size_with_the_anchor_nearest_to_each():
    truth, vectors = looks([10, 60, 30])
    found = prototypes(anchor_set(vectors), 3)
    assert [item.rows.tolist() for item in found] == [
        np.flatnonzero(truth == label).tolist() for label in (1, 2, 0)
    ]
    counters = anchor_set(vectors).counter_anchors
    for item in found:
        units = vectors[item.rows] - counters.mean(axis=0)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
        assert item.rows[np.argmax(units @ units.sum(axis=0))] == item.nearest


def test_prototypes_are_those_that_a_scorer_is_fitted_with():
    """Far from the origin everything has one direction; what differs is seen from the counters."""
    truth, vectors = looks([30, 20, 10])
    anchors = 100 + vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    held = anchor_set(anchors, centre=100.0)
    found = prototypes(held, 3, within_share=0.5)
    assert [set(truth[item.rows]) for item in found] == [{0}, {1}, {2}]
    fitted = fit_directions(held.anchors, held.counter_anchors, prototypes=3, rule="mean")
    means = [held.anchors[item.rows].mean(axis=0, dtype=np.float64) for item in found]
    for mean in means:
        cosines = [
            item.weight @ mean / np.linalg.norm(item.weight) / np.linalg.norm(mean)
            for item in fitted
        ]
        assert max(cosines) == pytest.approx(1, abs=1e-12)


def test_a_set_without_counter_anchors_has_prototypes_too():
    anchors = looks([5, 5])[1]
    none = AnchorSet(SPACE, anchors, np.arange(10), np.zeros((0, DIM)), np.zeros(0, int), {})
    assert [len(item.rows) for item in prototypes(none, 2)] == [5, 5]


def test_equal_vectors_share_a_prototype():
    (found,) = prototypes(anchor_set(np.ones((5, DIM))), 3)
    assert (found.rows.tolist(), found.nearest) == ([0, 1, 2, 3, 4], 0)
    with pytest.raises(ValueError, match="count must be 1 or more, not 0"):
        group_by_direction(np.ones((5, DIM)), 0)
