import numpy as np
import pytest

from concepts.errors import UVRError
from uvr.anchors.directions import fit_direction, fit_whitened
from uvr.anchors.stack import Rows, Stack

PICTURES = np.random.default_rng(0).normal(size=(7, 5, 3)).astype(np.float32)


def test_a_stack_reads_the_pictures_of_its_batches_in_order():
    kept = {"b": (PICTURES[3:6], -PICTURES[3:6]), "a": (PICTURES[:3], -PICTURES[:3]),
            "c": (PICTURES[6:], -PICTURES[6:])}  # fmt: skip
    stack = Stack(kept, [("a", 3), ("b", 3), ("c", 1)], kind=1)
    assert stack.shape == (7, 5, 3)
    assert np.array_equal([stack[picture] for picture in range(7)], -PICTURES)


def test_a_batch_that_is_gone_says_what_to_do():
    kept = {"a": (PICTURES[:3],), "b": (PICTURES[3:],)}
    stack = Stack(kept, [("a", 3), ("b", 4)], kind=0)
    del kept["b"]
    with pytest.raises(UVRError, match="removed or changed while it read them"):
        stack[4]
    with pytest.raises(UVRError, match="captures what is lacking"):
        Stack({}, [("a", 3)], kind=0)


@pytest.mark.parametrize("part", [slice(None), slice(4, 9), slice(0, 0), slice(8, 100)])
def test_rows_are_those_that_an_array_would_give(part):
    chosen = np.random.default_rng(1).random((7, 5)) < 0.4
    chosen[2] = False
    rows = Rows(PICTURES, chosen)
    assert (len(rows), rows.shape) == (chosen.sum(), (chosen.sum(), 3))
    assert np.array_equal(rows[part], PICTURES[chosen][part])


def test_a_direction_is_fitted_in_passes_as_it_is_in_memory_to_the_bit():
    """Over more rows than one block has, so that the sums of blocks must meet as well."""
    random = np.random.default_rng(2)
    features = random.normal(size=(400, 64, 6)).astype(np.float32)
    features[:150] += 0.3
    shows = np.zeros((400, 64), dtype=bool)
    shows[:150] = random.random((150, 64)) < 0.9
    weights = random.random(int((~shows).sum()))
    weights /= weights.sum()
    whole = fit_direction(features[shows], features[~shows], weights=weights)
    passes = fit_whitened(Rows(features, shows), Rows(features, ~shows), weights=weights)
    assert np.array_equal(passes.weight, whole.weight)
    assert passes.offset == whole.offset
    assert np.array_equal(passes.scores(Rows(features, shows)), whole.scores(features[shows]))
