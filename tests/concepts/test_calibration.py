import json
from dataclasses import replace

import pytest

from concepts.calibration import KEY, Calibration, Share, recorded_calibration, wilson

MEASURED = Calibration(0.01, Share(0, 210), Share(115, 120))
NO_ORDINARY = (
    "No ordinary pictures: it may match any of them. Add benign prompts or pictures, and collect "
    "again."
)


def test_wilson_agrees_with_the_published_formula():
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)


@pytest.mark.parametrize("n", [1, 10, 50])
def test_wilson_stays_between_zero_and_one_at_the_ends(n):
    low, high = wilson(0, n)
    assert low == pytest.approx(0, abs=1e-12)
    assert 0 < high < 1
    mirrored = wilson(n, n)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_a_calibration_is_told_in_words():
    assert MEASURED.summary() == (
        "finds 96% of its pictures (n = 120, 95% interval 91 to 98%), at most 1% of others match "
        "(measured 0 of 210, 95% interval 0 to 1.8%)"
    )
    kinds = {"small": Share(24, 40), "cropped": Share(30, 40)}
    told = Calibration(1 / 161, Share(3, 144), Share(54, 80), kinds).summary()
    assert told == (
        "finds 68% of its pictures (n = 80, 95% interval 57 to 77%; cropped 75% of 40; small 60% "
        "of 40), at most 0.7% of others match (measured 3 of 144, 95% interval 0.7 to 5.9%)"
    )


@pytest.mark.parametrize(
    ("found", "near_misses", "helps"),
    [
        (Share(95, 100), Share(8, 8), ()),
        (Share(60, 64), None, ("more pictures of it (64 so far)",)),
        (
            Share(400, 500),
            Share(6, 8),
            ("more near-misses (6 of 8 of the pictures that set its threshold are)",),
        ),
        (
            Share(400, 500),
            Share(1, 8),
            ("a higher rate, or prototypes if it looks like several things",),
        ),
    ],
)
def test_what_would_help_follows_from_the_numbers(found, near_misses, helps):
    assert Calibration(0.01, Share(0, 210), found, {}, near_misses).advice() == helps


@pytest.mark.parametrize(
    ("target", "looked_at", "ordinary", "warnings"),
    [
        (0.05, 19, 8, ()),
        (0.05, 19, None, ()),
        (0.01, 210, 0, (NO_ORDINARY,)),
        (1 / 9, 8, 0, (
            NO_ORDINARY,
            "As many as 11% of other pictures may match: 8 were looked at, and 5% needs 19 or more."
        )),
        (0.2, 100, 60, ("As many as 20% of other pictures may match: ask for a lower rate.",)),
    ],
)  # fmt: skip
def test_a_weak_promise_is_warned_of_whatever_is_found(target, looked_at, ordinary, warnings):
    told = Calibration(target, Share(0, looked_at), Share(16, 16), {}, Share(3, 3), ordinary)
    assert (told.warnings(), told.advice()) == (warnings, ())


def test_a_calibration_is_read_back_from_a_scorers_metadata():
    full = Calibration(0.01, Share(0, 210), Share(9, 12), {"small": Share(2, 4)}, Share(1, 3), 7)
    for item in (MEASURED, full):
        stored = json.loads(json.dumps(item.to_dict()))
        assert recorded_calibration({"margin": 0.2, KEY: stored}) == item
    older = {name: item for name, item in full.to_dict().items() if name != "ordinary"}
    assert recorded_calibration({KEY: older}) == replace(full, ordinary=None)
    assert full.to_dict()["matched"] == {"hits": 0, "n": 210, "interval": [0.0, 0.018]}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {KEY: None},
        {KEY: {**MEASURED.to_dict(), "target": "low"}},
        {KEY: {**MEASURED.to_dict(), "found": {"hits": 3, "n": 2, "interval": []}}},
        {KEY: {**MEASURED.to_dict(), "matched": {"hits": 0, "n": 0, "interval": []}}},
        {KEY: {**MEASURED.to_dict(), "found_by_kind": [1]}},
        {KEY: {**MEASURED.to_dict(), "ordinary": "many"}},
    ],
)
def test_what_older_or_other_programs_wrote_is_no_calibration(metadata):
    assert recorded_calibration(metadata) is None
