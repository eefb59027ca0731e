"""A release's sheet."""

from dataclasses import replace

from console.evidence.release import change_words, release_page, release_sheet
from registry.answers import Difference
from tests.console.evidence.conftest import Loads


def test_a_release_is_told_with_its_thresholds_changes_channels_and_gaps(filled, sheet):
    filled.releases.add(
        "policy",
        actor="tester",
        include="all",
        thresholds={"pistol": 2.05},
        allow_shrink=True,
        note="too many cups",
    )
    filled.channels.move("prod", "policy", actor="tester")
    _, pictures = sheet()
    found = release_sheet(filled, "policy", None, lambda detail: pictures)
    rates = found.members[0].pictures[0].examples.rates()
    assert (rates.threshold, rates.look_alikes.hits, rates.benign.hits) == (2.05, 1, 1)
    told = found.to_dict()
    assert told["pictures"]["pistol"]["t2i"]["threshold"] == 2.05
    assert [item["name"] for item in told["channels"]] == ["prod"]
    page = release_page(found)
    assert all(load.startswith(("data:", "#")) for load in Loads(page).loads)
    assert "Live in <b>prod</b>" in page
    assert "<b>knife</b> is not in it at all: nothing collected yet." in page
    assert "With <b>testbed</b>: pictures drawn from a text. Not: edited pictures, finished" in page
    assert "Strictness set by hand, not measured: testbed t2i." in page
    assert "Less strict here than was approved" in page
    assert "the policy asks for no signatures" in page


def test_changes_are_told_in_words_for_people():
    change = Difference("pistol", "mode", "enforce", "shadow")
    assert change_words(change) == "is now tried silently, was regulated"
    assert change_words(replace(change, what="removed", before=2, after=None)) == (
        "is banned no more; it was version 2"
    )
    off = replace(change, what="disabled_until", after="2026-12-03T00:00:00.000000Z")
    assert change_words(off) == "is switched off until 3 December 2026"
    assert change_words(replace(off, after=None)) == "is switched on again"
    raised = Difference("pistol", "threshold", 2.0, 3.0, "testbed t2i")
    assert change_words(raised) == "is less strict for pictures drawn from a text (testbed)"
    other = replace(raised, what="scoring")
    assert change_words(other).startswith("is scored in another way for pictures drawn from a text")


def test_models_and_tasks_are_told_in_words():
    covered = Difference("pistol", "coverage", None, "testbed check")
    assert change_words(covered) == "covers finished pictures that are checked (testbed) now"
    lost = Difference("pistol", "coverage", "testbed edit", None)
    assert change_words(lost) == "covers edited pictures (testbed) no more"
