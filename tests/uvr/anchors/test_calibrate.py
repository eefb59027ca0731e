from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from concepts import prototypes
from concepts.anchors import AnchorSet
from concepts.errors import UVRError
from concepts.prototypes import balanced_weights
from tests.uvr.conftest import space_of
from uvr.anchors.calibrate import fit_direction, fit_scorer
from uvr.profiles import ModelProfile

DIM, PATCHES = 64, 16


def anchor_set(profile: ModelProfile, *, seed: int = 0, benign: int = 200) -> AnchorSet:
    """Anchors differ along an axis of small variance; a mean rule drowns in a large one."""
    random = np.random.default_rng(seed)
    scale = np.ones(DIM)
    scale[0] = 20.0
    shift = np.zeros(DIM)
    shift[1] = 6.0
    anchors = random.normal(size=(40, DIM)) * scale + shift
    counters = random.normal(size=(benign * PATCHES, DIM)) * scale
    return AnchorSet(
        space=space_of(profile, DIM),
        anchors=anchors.astype(np.float32),
        anchor_images=np.repeat(np.arange(10), 4).astype(np.int32),
        counter_anchors=counters.astype(np.float32),
        counter_images=np.repeat(np.arange(5, benign + 5), PATCHES).astype(np.int32),
        provenance={},
    )


def highest(scores: np.ndarray) -> np.ndarray:
    return scores.reshape(-1, PATCHES).max(axis=1)


@pytest.mark.parametrize("rule", ["whitened", "mean"])
def test_thresholds_hold_on_pictures_never_seen(t2i_profile, rule):
    scorer = fit_scorer(anchor_set(t2i_profile), rule=rule, image_false_positive_rate=0.05)
    fresh = anchor_set(t2i_profile, seed=1, benign=400)
    benign = fresh.counter_anchors @ scorer.weights[0] + scorer.offset[0]
    assert np.mean(highest(benign) >= scorer.seed_threshold) < 0.1
    assert np.mean(benign >= scorer.grow_threshold) < 0.04
    found = fresh.anchors @ scorer.weights[0] + scorer.offset[0] >= scorer.seed_threshold
    assert found.mean() > 0.9 if rule == "whitened" else found.mean() < 0.5


def test_scores_are_standardised_on_weighted_counter_anchors(t2i_profile):
    chosen = anchor_set(t2i_profile)
    scorer = fit_scorer(chosen)
    within = np.isin(chosen.counter_images, chosen.anchor_images)
    weights = balanced_weights(within)
    scores = chosen.counter_anchors @ scorer.weights[0] + scorer.offset[0]
    assert abs(weights.sum() - 1) < 1e-9
    assert abs(weights[within].sum() - 0.5) < 1e-9
    assert abs(weights @ scores) < 1e-3
    assert abs(weights @ scores**2 - 1) < 1e-3
    assert scorer.seed_threshold >= scorer.grow_threshold
    assert scorer.metadata["benign_pictures"] == 195
    assert scorer.metadata["concept_pictures"] == 10


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


def test_fitting_is_deterministic(t2i_profile):
    first, second = (fit_scorer(anchor_set(t2i_profile)) for _ in range(2))
    assert first.digest == second.digest


def test_too_few_benign_pictures_are_refused(t2i_profile):
    with pytest.raises(UVRError, match="two pictures without the concept"):
        fit_scorer(anchor_set(t2i_profile, benign=6))


def test_an_unknown_rule_is_a_value_error():
    with pytest.raises(ValueError, match="'whitened' or 'mean'"):
        fit_direction(np.ones((2, 2)), np.ones((2, 2)), rule="median")


def test_row_blocks_change_nothing(t2i_profile, monkeypatch):
    chosen = anchor_set(t2i_profile, benign=20)
    counters = chosen.counter_anchors.reshape(20, PATCHES, DIM)
    whole = fit_direction(chosen.anchors, chosen.counter_anchors)
    scores = whole.scores(counters)
    monkeypatch.setattr(prototypes, "_BLOCK_ROWS", 7)
    blocked = fit_direction(chosen.anchors, chosen.counter_anchors)
    np.testing.assert_allclose(blocked.weight, whole.weight, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(blocked.scores(counters), scores, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(scores, counters @ whole.weight + whole.offset, atol=1e-9)


def test_fitting_never_copies_all_features(t2i_profile, monkeypatch):
    monkeypatch.setattr(prototypes, "_BLOCK_ROWS", 512)
    chosen = anchor_set(t2i_profile, benign=1000)
    tracemalloc.start()
    fit_direction(chosen.anchors, chosen.counter_anchors).scores(chosen.counter_anchors)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.6 * chosen.counter_anchors.nbytes


def test_margin_moves_both_thresholds_towards_the_concepts_usual_score(t2i_profile):
    anchors = anchor_set(t2i_profile)
    plain, moved, twice = (fit_scorer(anchors, margin=margin) for margin in (0.0, 0.25, 0.5))
    assert np.array_equal(plain.weights, moved.weights)
    step = moved.seed_threshold - plain.seed_threshold
    assert step > 0
    assert twice.seed_threshold - plain.seed_threshold == pytest.approx(2 * step)
    assert plain.grow_threshold < moved.grow_threshold <= moved.seed_threshold
