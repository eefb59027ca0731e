"""Verdicts as JSON."""

from __future__ import annotations

import json

import pytest

from uvr.verdict import Evidence, Verdict, said

LOOK = Evidence("look", "ball", "Ball", 3, "enforce", 4.0, 2.0, 0.25)
JUDGE = Evidence("judge", "cup", "Cup", None, "enforce", 0.9, 0.5, judge="tiny/1")
VERDICT = Verdict(1, "flagged", "f" * 64, (JUDGE, LOOK), "Cup was found by the judge.", 3, True)


def test_a_verdict_has_what_decided_at_the_top_and_all_evidence_below():
    assert VERDICT.to_dict() == {
        "schema": "uvr-verdict/1",
        "picture": 1,
        "outcome": "flagged",
        "stage": "judge",
        "concept": "cup",
        "version": None,
        "score": 0.9,
        "threshold": 0.5,
        "area": None,
        "bundle": "f" * 64,
        "reason": "Cup was found by the judge.",
        "retries": 3,
        "other_noise": True,
        "evidence": [
            {
                "stage": "judge", "concept": "cup", "name": "Cup", "version": None,
                "mode": "enforce", "score": 0.9, "threshold": 0.5, "area": None, "judge": "tiny/1",
            },
            {
                "stage": "look", "concept": "ball", "name": "Ball", "version": 3,
                "mode": "enforce", "score": 4.0, "threshold": 2.0, "area": 0.25, "judge": None,
            },
        ],
    }  # fmt: skip
    assert Verdict.from_dict(json.loads(json.dumps(VERDICT.to_dict()))) == VERDICT


def test_a_verdict_without_evidence_has_no_concept():
    plain = Verdict(0, "untouched", "f" * 64, (), "Nothing banned was found.").to_dict()
    assert [plain[name] for name in ("stage", "concept", "score", "area")] == [None] * 4


def test_words_that_no_verdict_knows_are_refused():
    with pytest.raises(ValueError, match="outcome is 'fine'"):
        Verdict(0, "fine", "f" * 64, (), "")
    with pytest.raises(ValueError, match="stage is 'hunch'"):
        Evidence("hunch", "ball", "Ball", 1, "enforce", 1.0, 0.5)
    with pytest.raises(ValueError, match="schema is 'uvr-verdict/9'"):
        Verdict.from_dict({**VERDICT.to_dict(), "schema": "uvr-verdict/9"})


def test_evidence_is_said_in_words():
    assert said([LOOK]) == "Ball was found at the look"
    assert said([LOOK, JUDGE]) == "Ball and Cup were found at the look and by the judge"
