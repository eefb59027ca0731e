"""What a threshold makes of example pictures; no model is loaded."""

from pathlib import Path

import numpy as np

from concepts.calibration import Share
from uvr.examples.examples import Example, Examples


def example(kind: str, key: str, score: float) -> Example:
    scores = np.full((3, 4), score - 2, dtype=np.float32)
    scores[0, 0] = score
    return Example(kind, key, Path(f"{key}.png"), "", score, scores)


def some() -> Examples:
    scored = {
        "must-catch": {"a": 5.0, "b": 2.0, "c": 1.0},
        "look-alike": {"d": 3.0, "e": 0.5},
        "benign": {"f": 4.0, "g": 2.9},
    }
    found = [example(kind, *pair) for kind, pairs in scored.items() for pair in pairs.items()]
    return Examples.of(found, model="tiny", task="t2i", threshold=3.0, grow=1.0)


def test_missed_and_wrongly_caught_pictures_come_worst_first():
    examples = some()
    assert [item.key for item in examples.missed()] == ["c", "b"]
    assert [item.key for item in examples.wrongly_caught()] == ["f", "d"]
    assert [item.key for item in examples.closest(2)] == ["g", "e"]
    assert [item.key for item in examples.wrongly_caught(3.5)] == ["f"]


def test_both_error_counts_follow_any_threshold_with_their_intervals():
    rates = some().rates(2.0)
    assert (rates.must_catch, rates.look_alikes, rates.benign) == (
        Share(2, 3), Share(1, 2), Share(2, 2),
    )  # fmt: skip
    assert rates.to_dict()["benign"] == {"hits": 2, "n": 2, "interval": [0.3424, 1.0]}
    assert Examples("tiny", "t2i", 1.0, 1.0).rates().benign is None


def test_a_score_is_compared_in_float32_as_engines_do():
    line = 0.1 + 1e-10
    assert example("benign", "a", 0.1).caught(line)
    assert not example("benign", "a", 0.1).caught(0.11)


def test_an_outline_grows_from_what_is_sure_and_takes_corners_along():
    scores = np.array(
        [[5, 0, 0, 2],
         [0, 2, 0, 2],
         [0, 0, 0, 0]], dtype=np.float32)  # fmt: skip
    found = Example("must-catch", "a", Path("a.png"), "", 5.0, scores)
    assert found.outline(5, 2).astype(int).tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert not found.outline(6, 2).any()
