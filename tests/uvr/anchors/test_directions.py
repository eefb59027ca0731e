from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from concepts import prototypes
from concepts.prototypes import balanced_weights
from uvr.anchors.directions import fit_direction

DIM, PATCHES = 64, 16


def patches(benign: int) -> tuple[np.ndarray, np.ndarray]:
    """Anchors shifted along one axis, and counter-anchors of so many pictures."""
    random = np.random.default_rng(0)
    anchors = random.normal(size=(40, DIM)) + 6 * np.eye(DIM)[1]
    counters = random.normal(size=(benign * PATCHES, DIM))
    return anchors.astype(np.float32), counters.astype(np.float32)


def test_balance_makes_the_direction_say_where_and_not_only_that():
    """All patches of a concept's pictures shift along axis 0, only its own patches along axis 1."""
    random = np.random.default_rng(0)
    shift, place = np.zeros((2, 8)), 3 * np.eye(8)[1]
    shift[0, 0] = 6
    anchors = random.normal(size=(50, 8)) + shift[0] + place
    inside = random.normal(size=(100, 8)) + shift[0]
    outside = random.normal(size=(5000, 8))
    counters = np.concatenate([inside, outside]).astype(np.float32)
    within = np.arange(len(counters)) < len(inside)
    chosen = anchors.astype(np.float32)
    plain = fit_direction(chosen, counters)
    balanced = fit_direction(chosen, counters, weights=balanced_weights(within))
    gap = [
        (fit.scores(chosen).mean() - fit.scores(counters[within]).mean())
        / (fit.scores(counters[within]).mean() - fit.scores(counters[~within]).mean())
        for fit in (plain, balanced)
    ]
    assert gap[0] < 1.0
    assert gap[1] > 2.0


def test_an_unknown_rule_is_a_value_error():
    with pytest.raises(ValueError, match="one of mean, whitened, logistic"):
        fit_direction(np.ones((2, 2)), np.ones((2, 2)), rule="median")


def test_row_blocks_change_nothing(monkeypatch):
    anchors, flat = patches(20)
    counters = flat.reshape(20, PATCHES, DIM)
    whole = fit_direction(anchors, flat)
    scores = whole.scores(counters)
    monkeypatch.setattr(prototypes, "_BLOCK_ROWS", 7)
    blocked = fit_direction(anchors, flat)
    np.testing.assert_allclose(blocked.weight, whole.weight, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(blocked.scores(counters), scores, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores, counters @ whole.weight + whole.offset, atol=1e-9)


def test_fitting_never_copies_all_features(monkeypatch):
    monkeypatch.setattr(prototypes, "_BLOCK_ROWS", 512)
    anchors, counters = patches(1000)
    tracemalloc.start()
    fit_direction(anchors, counters).scores(counters)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.6 * counters.nbytes
