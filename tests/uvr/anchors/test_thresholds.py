from dataclasses import replace

import numpy as np
import pytest

from concepts.calibration import Share
from concepts.errors import InputError
from uvr.anchors.held_out import HeldOut
from uvr.anchors.thresholds import (
    Targets,
    Thresholds,
    conformal_threshold,
    find_thresholds,
    least_rate,
    measure,
    require_promise,
)


def held_out(shown, benign):
    """One patch for each picture, given by its score."""
    count = len(shown)
    return HeldOut(
        np.array(shown, dtype=float), np.arange(count, dtype=np.int32),
        np.array(benign, dtype=float), np.arange(count, count + len(benign), dtype=np.int32),
    )  # fmt: skip


@pytest.mark.parametrize(("pictures", "rate"), [(19, 0.05), (19, 0.1), (40, 0.1), (99, 0.01)])
def test_a_further_picture_matches_as_rarely_as_promised(pictures, rate):
    random = np.random.default_rng(0)
    matched = [
        random.uniform() >= conformal_threshold(random.uniform(size=pictures), rate)
        for _ in range(4_000)
    ]
    kept = np.floor((pictures + 1) * rate + 1e-9) / (pictures + 1)
    assert np.mean(matched) == pytest.approx(kept, abs=4 * np.sqrt(kept / 4_000))


def test_the_smallest_rate_leaves_every_picture_below():
    peaks = np.arange(80.0)
    assert conformal_threshold(peaks, least_rate(80)) == np.nextafter(np.float32(79), np.inf)
    require_promise(least_rate(80), 80)


@pytest.mark.parametrize(
    ("rate", "needed"),
    [(0.0123, "81 are needed"), (0.001, "999 are needed"), (0.0, "no number of pictures is")],
)
def test_less_than_pictures_can_promise_is_refused(rate, needed):
    with pytest.raises(InputError, match=needed):
        require_promise(rate, 80)


def test_thresholds_need_scores_alone():
    targets = Targets(image_rate=0.1, patch_rate=0.2)
    found = find_thresholds(held_out([30, 40, 50], range(19)), targets)
    assert found == Thresholds(pytest.approx(17), pytest.approx(15))
    moved = find_thresholds(held_out([30, 40, 50], range(19)), Targets(0.1, 0.2, margin=0.5))
    assert moved == Thresholds(pytest.approx(28.5), pytest.approx(27.5))


def test_variants_count_for_no_picture_more_and_are_told_by_their_kind():
    targets = Targets(image_rate=0.05, patch_rate=0.5, margin=0.5)
    given = held_out([3, 40], range(19))
    varied = replace(
        given, anchors=np.array([3.0, 40, 2, 30, 4]),
        anchor_images=np.array([0, 1, 21, 22, 23]), variants=np.array([21, 22, 23]),
    )  # fmt: skip
    thresholds = find_thresholds(varied, targets)
    assert thresholds == find_thresholds(given, targets)  # the margin goes by what was given
    kinds, variants = {"small": [0, 21]}, {"smaller": [21, 22], "cropped": [23]}
    found = measure(varied, thresholds, targets, kinds, variants)
    assert found.found == Share(1, 2)
    assert found.found_by_kind == {
        "small": Share(0, 1), "smaller variants": Share(1, 2), "cropped variants": Share(0, 1),
    }  # fmt: skip
    assert "; smaller variants 50% of 2" in found.summary()


def test_grow_is_never_above_seed():
    found = find_thresholds(held_out([30], range(19)), Targets(image_rate=0.5, patch_rate=0.05))
    assert found.grow <= found.seed


def test_others_are_counted_against_thresholds_that_they_did_not_set():
    targets = Targets(image_rate=0.05, patch_rate=0.5)
    scores = held_out([3, 8, 30], [*range(18), 25])
    found = measure(scores, find_thresholds(scores, targets), targets)
    # No picture is above a threshold that all set; the highest is above what the others set.
    assert (found.target, found.matched, found.found) == (0.05, Share(1, 19), Share(1, 3))


def test_recall_is_told_by_kind_and_near_misses_by_how_many_of_them_set_the_threshold():
    targets = Targets(image_rate=0.05, patch_rate=0.5)
    scores = held_out([3, 8, 30, 40], range(19))
    thresholds = find_thresholds(scores, targets)
    kinds = {"small": [0, 2], "cropped": [1], "near-miss": [4, 21, 22]}
    found = measure(scores, thresholds, targets, kinds)
    assert found.found_by_kind == {"small": Share(1, 2), "cropped": Share(0, 1)}
    assert (found.near_misses, found.ordinary) == (Share(2, 3), 16)
    unsaid = measure(scores, thresholds, targets, {"small": [0]})
    assert (unsaid.near_misses, unsaid.ordinary) == (None, None)
    alone = measure(scores, thresholds, targets, {"near-miss": range(4, 30)})
    assert alone.ordinary == 0
