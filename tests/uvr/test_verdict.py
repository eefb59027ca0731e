"""Verdicts as JSON, and the file of them."""

from __future__ import annotations

import json
import os
import threading

import pytest

from uvr.verdict import Evidence, Verdict, said
from uvr.verdict_log import VerdictLog

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


def test_a_log_has_a_line_for_each_verdict_and_what_is_asked_for(tmp_path):
    log = VerdictLog(tmp_path / "deep" / "verdicts.jsonl")
    log(VERDICT)
    log.write(VERDICT, request="r-1")
    lines = [json.loads(line) for line in log.path.read_text().splitlines()]
    assert [Verdict.from_dict(line) for line in lines] == [VERDICT, VERDICT]
    assert [line.get("request") for line in lines] == [None, "r-1"]
    assert all(line["time"].endswith("Z") for line in lines)


def test_lines_of_several_writers_do_not_mix(tmp_path):
    logs = [VerdictLog(tmp_path / "verdicts.jsonl") for _ in range(4)]
    threads = [
        threading.Thread(target=lambda log=log: [log(VERDICT) for _ in range(50)]) for log in logs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = logs[0].path.read_text().splitlines()
    assert [json.loads(line)["outcome"] for line in lines] == ["flagged"] * 200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_log_that_cannot_be_written_is_refused_at_once(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        VerdictLog(tmp_path / "verdicts.jsonl")


def test_a_folder_is_no_log(tmp_path):
    with pytest.raises(IsADirectoryError):
        VerdictLog(tmp_path)
