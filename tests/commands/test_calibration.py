"""The command that fits a draft's scorers anew, and where its figures are told."""

import pytest

from tests.commands.conftest import on_both
from tests.conftest import toy_collection
from uvr.anchors.calibration import fit_scorer

UNKNOWN = "what these thresholds promise and reach was not measured"
FITTED = (
    "finds 20% of its pictures (n = 5, 95% interval 3.6 to 62%), at most 20% of others match "
    "(measured 1 of 6, 95% interval 3 to 56%)"
)

WEAK = (
    "WARNING: As many as 20% of other pictures may match: "
    "6 were looked at, and 5% needs 19 or more."
)


@on_both
def test_a_draft_is_fitted_anew_from_the_anchors_that_it_has(run, filled):
    before = filled.versions.get("pistol")
    done = run("calibrate", "pistol", "--rate", 0.2)
    assert (done.code, done.out.splitlines()) == (0, [
        "pistol@1 is fitted anew",
        "testbed t2i: seed threshold 2 -> 12.5231, grow threshold 1 -> 12.5231",
        f"  before: {UNKNOWN}",
        f"  now: {FITTED}",
        f"  now: {WEAK}",
        "  what would help: more pictures of it (5 so far)",
    ])  # fmt: skip
    after = filled.versions.get("pistol")
    assert (after.number, after.state) == (1, "draft")
    assert after.content_digest != before.content_digest
    assert after.spaces[0].anchor_set == before.spaces[0].anchor_set
    anchors, _ = toy_collection()
    expected = fit_scorer(anchors, image_false_positive_rate=0.2)
    assert filled.versions.scorer("pistol", anchors.space).digest == expected.digest
    event = filled.audit.events()[-1]
    lines = [
        [space.seed_threshold, space.grow_threshold]
        for space in (before.spaces[0], after.spaces[0])
    ]
    assert (event.action, event.actor, event.details) == ("version.calibrate", "tester", {
        "before": before.content_digest, "content_digest": after.content_digest,
        "authors": ["tester"], "spaces": [anchors.space.digest],
        "thresholds": {"testbed t2i": {"before": lines[0], "after": lines[1]}},
    })  # fmt: skip
    assert run("doctor").code == 0


def test_what_no_option_says_stays_as_it_was(run, filled):
    run("calibrate", "pistol", "--rate", 0.2, "--margin", 0.5, "--prototypes", 2)
    run("calibrate", "pistol", "--margin", 0.25)
    anchors, _ = toy_collection()
    expected = fit_scorer(anchors, image_false_positive_rate=0.2, margin=0.25, prototypes=2)
    assert filled.versions.scorer("pistol", anchors.space).digest == expected.digest


def test_a_dry_run_tells_what_would_come_of_it(run, filled):
    before = filled.versions.get("pistol")
    told = run("calibrate", "pistol", "--rate", 0.2, "--dry-run", "--json").json()
    (change,) = told["calibrated"]
    assert change["before"]["calibration"] is None
    assert change["after"]["calibration"]["matched"] == {
        "hits": 1, "n": 6, "interval": [0.0301, 0.5635],
    }  # fmt: skip
    assert filled.versions.get("pistol") == before


def test_a_dry_run_tells_of_thresholds_that_another_version_has(run, filled):
    run("calibrate", "pistol", "--rate", 0.2)
    run("submit", "pistol")
    run("copy-version", "pistol", "--threshold", "t2i", 3, 1)
    told = run("calibrate", "pistol@2", "--rate", 0.2, "--dry-run")
    assert (told.code, told.out.splitlines()) == (0, [
        "pistol@2 would be refused: Version 1 of 'pistol' already has exactly this content.",
        "testbed t2i: seed threshold 3 -> 12.5231, grow threshold 1 -> 12.5231",
        f"  before: {UNKNOWN}",
        f"  now: {FITTED}",
        f"  now: {WEAK}",
        "  what would help: more pictures of it (5 so far)",
    ])  # fmt: skip
    assert run("calibrate", "pistol@2", "--rate", 0.2).code == 4


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--rate", 0.1), 2, "0.1 cannot be promised from 6 pictures without the concept: 9 are"),
        (("--task", "edit"), 3, "has no edit anchors. Collect them"),
        (("--expect-digest", "0" * 64), 4, "It changed meanwhile"),
    ],
)
def test_what_cannot_be_fitted_is_refused(run, filled, options, code, message):
    before = filled.audit.events()
    refused = run("calibrate", "pistol", *options)
    assert (refused.code, refused.out) == (code, "")
    assert message in refused.err
    assert filled.audit.events() == before


@pytest.mark.parametrize(
    ("policy", "state", "instead"),
    [({}, "approved", "`uvr-registry copy-version`"),
     ({"approvals": 1}, "in_review", "Approve or reject it")],
)  # fmt: skip
def test_only_a_draft_is_fitted_anew(run, filled, policy, state, instead):
    if policy:
        filled.team.set_policy(actor="tester", **policy)
    filled.versions.submit("pistol", actor="tester")
    refused = run("calibrate", "pistol")
    assert (refused.code, f"is {state}, not draft" in refused.err) == (5, True)
    assert instead in refused.err


def test_what_was_promised_and_measured_is_shown_compared_and_approved(run, filled):
    run("submit", "pistol")
    assert f"version 1, testbed t2i: {UNKNOWN}\n" in run("show", "pistol").out
    run("copy-version", "pistol", "--threshold", "t2i", 1.25, 1)
    run("calibrate", "pistol@2", "--rate", 0.2)
    assert f"testbed t2i: {FITTED}\ntestbed t2i: {WEAK}\n" in run("show", "pistol@2").out
    told = run("show", "pistol@2", "--json").json()["spaces"][0]["calibration"]
    assert (told["target"], told["found"]["hits"]) == (0.2, 1)
    changes = run("diff", "pistol", 1, 2).out.splitlines()
    assert changes[-4:-1] == [f"  before: {UNKNOWN}", f"  after: {FITTED}", f"  after: {WEAK}"]
    run("policy", "set", "--approvals", 1)
    run("submit", "pistol@2")
    told = run("approve", "pistol@2", "--dry-run").err
    assert f"testbed t2i: {FITTED}\ntestbed t2i: {WEAK}\n" in told


def test_thresholds_set_by_hand_lose_what_was_measured_at_others(run, filled):
    run("calibrate", "pistol", "--rate", 0.2)
    run("edit-version", "pistol", "--threshold", "t2i", 3, 1)
    assert f"testbed t2i: {UNKNOWN}\n" in run("show", "pistol@1").out
