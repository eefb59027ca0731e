from dataclasses import replace

import numpy as np
import pytest

from concepts.anchors import AnchorSet
from tests.uvr.conftest import space_of
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.directions import Direction, fit_directions
from uvr.anchors.held_out import HeldOut, held_out_scores
from uvr.anchors.kinds import kinds_of
from uvr.anchors.parts import Scale, common_scale, parts_of, together
from uvr.anchors.thresholds import Targets, find_thresholds
from uvr.method.taps import at_both
from uvr.sample import BROUGHT, DRAWN, KEPT, NAMED

DIM, PATCHES, EACH, BENIGN = 48, 16, 40, 300
RATE = 0.02


def edits(profile, *, seed=0, shift=5.0, told=True):
    """Pictures of edits that leave a concept unsaid, and of others that bring it, one anchor each.

    The second kind has its concept along another axis, where other patches vary three times as
    much, so that one threshold on plain scores cannot suit both.
    """
    random = np.random.default_rng(seed)
    scale = np.ones(DIM)
    scale[2] = 3.0
    kept, brought = (shift * spread * np.eye(DIM)[axis] for axis, spread in ((1, 1), (2, 3)))
    anchors = random.normal(size=(2 * EACH, DIM)) * scale
    anchors += np.repeat([kept, brought], EACH, axis=0)
    counters = random.normal(size=(BENIGN * PATCHES, DIM)) * scale
    numbers = np.arange(2 * EACH + BENIGN, dtype=np.int32)
    kinds = [KEPT] * EACH + [BROUGHT] * EACH + [""] * BENIGN
    return AnchorSet(
        space=space_of(profile, DIM),
        anchors=anchors.astype(np.float32),
        anchor_images=numbers[: 2 * EACH],
        counter_anchors=counters.astype(np.float32),
        counter_images=np.repeat(numbers[2 * EACH :], PATCHES),
        provenance=kinds_of(kinds) if told else {},
    )


def members(anchor_set):
    return [np.flatnonzero(part.anchors).tolist() for part in parts_of(anchor_set)]


def test_no_part_is_empty(edit_profile):
    chosen = edits(edit_profile)
    kept, brought = list(range(EACH)), list(range(EACH, 2 * EACH))
    assert members(chosen) == [kept, brought]
    assert [part.columns for part in parts_of(chosen)] == [slice(0, DIM)] * 2
    assert members(edits(edit_profile, told=False)) == [kept + brought]


def test_what_a_given_picture_shows_is_a_part_that_reads_its_features(edit_profile):
    chosen = edits(replace(edit_profile, taps=at_both(edit_profile.taps)))
    kinds = [KEPT] * EACH + [NAMED] * (EACH // 2) + [BROUGHT] * (EACH // 2)
    object.__setattr__(chosen, "provenance", kinds_of(kinds + [""] * BENIGN))
    half = EACH + EACH // 2
    assert members(chosen) == [
        list(range(half)), list(range(EACH, half)), list(range(half, 2 * EACH)),
    ]  # fmt: skip
    output, given = slice(0, DIM // 2), slice(DIM // 2, DIM)
    assert [part.columns for part in parts_of(chosen)] == [given, output, output]
    scorer = fit_scorer(chosen, image_false_positive_rate=RATE)
    reads = [[bool(row[columns].any()) for columns in (output, given)] for row in scorer.weights]
    assert reads == [[False, True], [True, False], [True, False]]


def test_what_was_drawn_without_a_picture_counts_for_nothing_in_features_of_one(edit_profile):
    """Anchors and counter-anchors without a given picture do not move the part that reads one."""
    taps = at_both(edit_profile.taps)
    chosen = edits(replace(edit_profile, taps=taps))
    object.__setattr__(chosen, "provenance", kinds_of([KEPT] * EACH + [DRAWN] * EACH))
    kept, drawn = parts_of(chosen)
    assert (kept.columns, drawn.columns) == (slice(DIM // 2, DIM), slice(0, DIM // 2))
    anchors, counters = chosen.anchors.copy(), chosen.counter_anchors.copy()
    anchors[EACH:, DIM // 2 :] = 0.0
    lacking = np.arange(len(counters)) % 4 == 0
    counters[lacking, DIM // 2 :] = 0.0
    first, _ = fit_directions(anchors, counters, parts=[kept, drawn])
    alone, _ = fit_directions(anchors, counters[~lacking], parts=[kept, drawn])
    assert np.allclose(first.weight, alone.weight)
    assert first.offset == pytest.approx(alone.offset)
    scored = replace(chosen, anchors=anchors, counter_anchors=counters)
    of_kept, _ = held_out_scores(scored, [kept, drawn])
    assert np.array_equal(np.isneginf(of_kept.counters), lacking)
    assert np.isneginf(of_kept.anchors[EACH:]).all()


def test_each_part_has_its_direction_and_the_rate_holds_for_all_together(edit_profile):
    scorer = fit_scorer(edits(edit_profile), image_false_positive_rate=RATE)
    assert len(scorer.weights) == 2
    fresh = edits(edit_profile, seed=1)
    scores = lambda features: (features @ scorer.weights.T + scorer.offset).max(axis=1)  # noqa: E731
    peaks = scores(fresh.counter_anchors).reshape(-1, PATCHES).max(axis=1)
    assert np.mean(peaks >= scorer.seed_threshold) <= 3 * RATE
    found = scores(fresh.anchors) >= scorer.seed_threshold
    assert found[:EACH].mean() > 0.8
    assert found[EACH:].mean() > 0.8


def test_parts_find_what_one_direction_for_all_misses(edit_profile):
    found = []
    for told in (True, False):
        scorer = fit_scorer(edits(edit_profile, told=told), image_false_positive_rate=RATE)
        fresh = edits(edit_profile, seed=1)
        scores = (fresh.anchors @ scorer.weights.T + scorer.offset).max(axis=1)
        found.append(float((scores >= scorer.seed_threshold).mean()))
    assert found[0] > found[1] + 0.1


def test_one_part_is_scored_as_it_was(edit_profile):
    assert Scale() == Scale(1.0, 0.0)
    direction = Direction(np.arange(3.0), 0.25)
    assert np.array_equal(Scale().of(direction).weight, direction.weight)
    assert Scale().of(direction).offset == direction.offset


def test_the_thresholds_of_every_part_come_to_those_of_the_first():
    random = np.random.default_rng(0)
    numbers = np.arange(220, dtype=np.int32)
    by_part = [
        HeldOut(
            spread * random.normal(6, 1, size=20) + moved, numbers[:20],
            spread * random.normal(size=200 * PATCHES) + moved, np.repeat(numbers[20:], PATCHES),
        )
        for spread, moved in ((1, 0), (3, 7), (0.5, -2))
    ]  # fmt: skip
    targets = Targets(0.06, 0.03, margin=0.2)
    scales = common_scale(by_part, targets)
    shares = [Targets(0.03, 0.015)] + [Targets(0.015, 0.0075)] * 2
    lines = [
        find_thresholds(held_out, share) for held_out, share in zip(by_part, shares, strict=True)
    ]
    for line, scale in zip(lines, scales, strict=True):
        assert scale.slope * line.seed + scale.shift == pytest.approx(lines[0].seed)
        assert scale.slope * line.grow + scale.shift == pytest.approx(lines[0].grow)
    _, peaks = together(by_part, scales).benign_peaks()
    assert np.mean(peaks >= lines[0].seed) <= 0.06


def test_a_named_concept_is_a_part_of_its_own(edit_profile):
    chosen = edits(edit_profile)
    kinds = [KEPT] * EACH + [NAMED] * (EACH // 2) + [BROUGHT] * (EACH // 2)
    provenance = kinds_of(kinds + [""] * BENIGN)
    object.__setattr__(chosen, "provenance", provenance)
    assert [len(part) for part in members(chosen)] == [EACH, EACH // 2, EACH // 2]


def test_a_part_of_one_picture_is_fitted_too(edit_profile):
    chosen = edits(edit_profile)
    kinds = [KEPT] * (2 * EACH - 1) + [BROUGHT] + [""] * BENIGN
    object.__setattr__(chosen, "provenance", kinds_of(kinds))
    scorer = fit_scorer(chosen, image_false_positive_rate=RATE)
    assert np.isfinite(scorer.weights).all()
    assert len(scorer.weights) == 2
