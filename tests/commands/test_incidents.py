"""Commands on what engines decided; tiny random weights stand in for the testbed's."""

import json
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture
def served(run, models, pictures):
    """A release that is live, and one picture drawn with it, which it caught and logged."""
    run("init")
    run("add-concept", "pistol")
    folders = ["--images", pictures / "with", "--benign", pictures / "without"]
    for task in ("t2i", "check"):
        made = run("collect-anchors", "pistol", "--model", models["t2i"], "--task", task, *folders)
        assert made.code == 0, made.err
    run("edit-version", "pistol", "--threshold", "t2i", -1000, -1000, "--threshold", "check", 0, 0)
    run("submit", "pistol")
    run("--actor", "ann", "release", "policy", "--note", "first", "--out", "policy.uvr")
    run("--actor", "bob", "channel", "move", "prod", "policy")
    drawn = run("generate", "a red ball", "--model", models["t2i"], "--steps", 2,
                "--bundle", "policy.uvr", "--log", "log.jsonl")  # fmt: skip
    assert drawn.code == 0, drawn.err
    return json.loads(Path("log.jsonl").read_text())


def test_a_log_of_a_drawing_keeps_features_as_its_help_says_and_no_prompt(run, served):
    assert set(served["features"]) == {"pistol"}
    assert "prompt" not in served
    assert "with the features of what fired" in " ".join(run("generate", "--help").out.split())


def test_a_report_a_request_and_a_picture_lead_to_the_same_incident(run, served, models):
    lines = run("incident", served["request"], "--log", "log.jsonl").out.splitlines()
    report = json.loads(Path("picture.json").read_text())
    (finding,) = report["images"][0]
    assert lines[0] == (
        f"pistol@2 was found in picture 1 of request '{served['request']}', at "
        f"{served['time'][:19]}Z: score {finding['score']:.4g}, threshold -1000, "
        "mode enforce (regulated)"
    )
    assert lines[1].startswith("release: policy@1, made ")
    assert lines[1].endswith(" by ann: first")
    assert lines[2].endswith("it is approved now")
    assert lines[3].startswith("live then: 'prod' since ")
    assert lines[3].endswith(", by bob")
    assert lines[4].startswith("live in 'prod', by policy@1: version 2, mode enforce (regulated)")
    assert lines[5] == "nearest examples:"
    assert lines[6].split() == ["anchor", "score", "picture", "prompt"]
    assert lines[10:] == [
        "the same patch also matches: nothing else",
        "in the log: this version was found in 1 picture of 1",
    ]
    asked = ["incident", served["request"], "--log", "log.jsonl", "--json"]
    (by_request,) = run(*asked).json()
    (by_picture,) = run("incident", "picture.png", "--log", "log.jsonl", "--json").json()
    (by_report,) = run("incident", "picture.json", "--log", "log.jsonl", "--json").json()
    assert by_request == by_picture
    assert by_request["nearest"][0]["score"] > 0
    assert by_report["caught"].pop("score") == pytest.approx(by_request["caught"].pop("score"))
    assert by_report == by_request


def test_a_picture_that_no_log_knows_is_checked_against_what_is_live(run, served, models):
    Image.new("RGB", (64, 64), (230, 20, 20)).save("other.png")
    (found,) = run("incident", "other.png", "--model", models["t2i"], "--json").json()
    assert found["where"] == "'other.png', checked by policy@1 (prod)"
    assert found["member"]["version"] == 2
    assert found["nearest"]
    assert found["in_log"] is None


def test_what_is_not_there_is_named(run, served):
    missing = run("incident", "r-99", "--log", "log.jsonl")
    assert (missing.code, missing.err) == (
        3, "Error: No decision on request 'r-99' in the log, and no file of that name.\n",
    )  # fmt: skip
    unnamed = run("incident", "r-99")
    assert (unnamed.code, unnamed.err) == (
        3, "Error: No file 'r-99'. To look for a request of that name give --log.\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "why"),
    [((), "No log was given (--log FILE)"),
     (("--log", "log.jsonl"), "'other.png' is not in the log")],
)  # fmt: skip
def test_a_picture_that_cannot_be_checked_says_first_why_it_would_be(
    run, filled, models, options, why
):
    Image.new("RGB", (64, 64)).save("other.png")
    Path("log.jsonl").write_text("")
    asked = ["incident", "other.png", "--model", models["t2i"], *options]
    nowhere = run(*asked)
    assert (nowhere.code, nowhere.err) == (
        3,
        f"Error: {why}, and no channel is live to check 'other.png' against. Move one: "
        "`uvr-registry channel move`.\n",
    )
    run("release", "policy")
    run("channel", "move", "prod", "policy")
    unchecked = run(*asked)
    begin = f"Error: {why}, and 'other.png' cannot be checked against what is live: Release "
    assert (unchecked.code, unchecked.err[: len(begin)]) == (6, begin)


def test_a_picture_that_many_requests_share_is_to_be_asked_for_by_name(run, served):
    Path("log.jsonl").write_text(f"{json.dumps(served)}\n" * 6)
    shared = run("incident", "picture.png", "--log", "log.jsonl")
    assert (shared.code, shared.err) == (
        4,
        "Error: More than 5 pictures in the log have the pixels of 'picture.png', as grey ones "
        "that take the place of blocked ones do. Ask by the request's name.\n",
    )


def test_check_says_by_its_exit_code_whether_something_enforced_was_found(run, served, models):
    Image.new("RGB", (64, 64), (230, 20, 20)).save("red.png")
    caught = run("check", "red.png", "--bundle", "policy.uvr", "--model", models["t2i"], "--json")
    verdict = caught.json()
    assert (caught.code, verdict["outcome"], verdict["stage"]) == (10, "flagged", "check")
    assert verdict["reason"] == "Pistol was found by the check."
    assert run("copy-version", "pistol", "--threshold", "check", 4, 4).code == 0
    run("submit", "pistol")
    run("release", "policy", "--all-approved", "--allow-shrink", "--out", "later.uvr")
    clear = run("check", "red.png", "--bundle", "later.uvr", "--model", models["t2i"])
    assert (clear.code, clear.out) == (0, "Verdict: untouched. Nothing banned was found.\n")


def test_hits_are_summed_without_a_registry(run, served, tmp_path):
    Path("log.jsonl").write_text(
        "".join(
            json.dumps(served | {"time": f"{day}T10:00:00.000000Z"}) + "\n"
            for day in ("2026-11-23", "2026-11-24", "2026-11-24")
        )
        + '{"torn'
    )
    result = run("--home", tmp_path / "nowhere", "hits", "log.jsonl")
    assert result.out.splitlines() == [
        "day         concept  pictures  enforce (regulated)  log (reported only)  "
        "shadow (tried silently)  of",
        "2026-11-23  pistol   1         1                    0                    "
        "0                        1",
        "2026-11-24  pistol   2         2                    0                    "
        "0                        2",
    ]
    assert result.err == "Warning: lines that could not be read as decisions: 1.\n"
    assert run("hits", "log.jsonl", "--by", "concept", "--json").json() == [
        {
            "day": None, "concept": "pistol", "pictures": 3, "enforce": 3, "log": 0, "shadow": 0,
            "of": 3,
        }
    ]  # fmt: skip


def test_files_that_are_no_logs_are_refused(run):
    Path("notes.txt").write_text("buy milk\n{}\n")
    Path("more.txt").write_text("and bread\n")
    wrong = run("hits", "notes.txt", "more.txt")
    assert (wrong.code, wrong.out, wrong.err) == (
        2,
        "",
        "Error: No line of 'notes.txt', 'more.txt' is a decision. Logs that `generate --log` or "
        "`DecisionLog` wrote are expected.\n",
    )
    Path("log.jsonl").write_text("")
    empty = run("hits", "log.jsonl")
    assert (empty.code, empty.out) == (0, "Nothing was found in any picture.\n")
