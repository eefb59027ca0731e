from __future__ import annotations

import numpy as np
import pytest

from concepts.anchors import AnchorSet
from concepts.calibration import recorded_calibration
from concepts.errors import InputError, UVRError
from concepts.prototypes import balanced_weights
from tests.uvr.conftest import space_of
from uvr.anchors.calibration import fit_options, fit_scorer
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


def test_fitting_is_deterministic(t2i_profile):
    first, second = (fit_scorer(anchor_set(t2i_profile)) for _ in range(2))
    assert first.digest == second.digest


def test_too_few_benign_pictures_are_refused(t2i_profile):
    with pytest.raises(UVRError, match="two pictures without the concept"):
        fit_scorer(anchor_set(t2i_profile, benign=6))


def test_margin_moves_both_thresholds_towards_the_concepts_usual_score(t2i_profile):
    anchors = anchor_set(t2i_profile)
    plain, moved, twice = (fit_scorer(anchors, margin=margin) for margin in (0.0, 0.25, 0.5))
    assert np.array_equal(plain.weights, moved.weights)
    step = moved.seed_threshold - plain.seed_threshold
    assert step > 0
    assert twice.seed_threshold - plain.seed_threshold == pytest.approx(2 * step)
    assert plain.grow_threshold < moved.grow_threshold <= moved.seed_threshold


def test_a_usual_rate_gives_way_to_what_the_pictures_promise_and_an_asked_one_is_refused(
    t2i_profile,
):
    chosen = anchor_set(t2i_profile, benign=54)  # 5 of them show the concept, too
    usual = {"image_false_positive_rate": 0.001, "margin": 0.2, "taps": 3}
    assert fit_options(chosen, usual, {"rule": "mean"}) == {
        "image_false_positive_rate": 1 / 50, "margin": 0.2, "rule": "mean",
    }  # fmt: skip
    asked = fit_options(chosen, usual, {"image_false_positive_rate": 0.002})
    with pytest.raises(InputError) as refused:
        fit_scorer(chosen, **asked)
    assert str(refused.value) == (
        "A rate of 0.002 cannot be promised from 49 pictures without the concept: 499 are needed. "
        "Give more of them, or ask for 0.02."
    )


def test_a_scorer_keeps_what_was_promised_and_measured(t2i_profile):
    scorer = fit_scorer(anchor_set(t2i_profile))
    found = recorded_calibration(scorer.metadata)
    assert found.target == scorer.metadata["image_false_positive_rate"] == 0.01
    assert (found.found.n, found.matched.n) == (10, 195)
    assert found.found.hits >= 9
    assert found.matched.hits <= 8
    few = recorded_calibration(fit_scorer(anchor_set(t2i_profile, benign=45)).metadata)
    assert few.target == 1 / 41
