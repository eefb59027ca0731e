"""The command that collects anchors; tiny random weights stand in for the testbed's."""

from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from concepts.anchors import AnchorSet
from concepts.definition import load_shipped
from concepts.errors import InputError
from concepts.scorer import Scorer
from tests.conftest import toy_collection
from uvr.anchors.collection import collect
from uvr.anchors.exemplars import Exemplars
from uvr.anchors.pictures import PictureError
from uvr.profiles import PROFILES


def test_stopping_a_collection_leaves_the_registry_as_it_was(
    run, filled, models, pictures,
    monkeypatch,
):  # fmt: skip
    def stop(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    before = filled.audit.events()
    monkeypatch.setattr("uvr.anchors.collection.fit_scorer", stop)
    result = run("collect-anchors", "pistol", "--model", models["t2i"],
                 "--images", pictures / "with", "--benign", pictures / "without",
                 "--yes")  # fmt: skip
    assert (result.code, result.err.splitlines()[-1]) == (130, (
        "Error: Stopped. Nothing unfinished was recorded. What was captured is kept: run it again "
        "to go on."
    ))  # fmt: skip
    assert filled.audit.events() == before
    assert [version.number for version in filled.concepts.get("pistol").versions] == [1]


def test_a_refused_version_does_not_lose_the_other_concepts_anchors(run, filled, monkeypatch):
    monkeypatch.setattr(
        "uvr.anchors.collection.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: toy_collection())
    filled.versions.submit("pistol", actor="tester")
    result = run("collect-anchors", "pistol", "knife", "--task", "t2i", "--yes", "--json")
    assert (result.code, list(result.json())) == (4, ["knife"])
    told = [line for line in result.err.splitlines(True) if "does not draw" not in line]
    assert "".join(told) == (
        "Warning: 100% of these anchors of knife lie within 0.05 of pistol version 1 (approved): "
        "is it the same concept?\n"
        "Error: Version 1 of 'pistol' already has exactly this content.\n"
    )
    assert [info.latest_version for info in filled.concepts.list()] == [1, 1]


@pytest.mark.parametrize("tasks", [(), ("--task", "edit")])
def test_a_concept_that_cannot_be_collected_does_not_hold_up_others(
    run, filled, monkeypatch, tasks
):
    def collect(pipe: Any, profile: Any, definition: Any, *_: Any) -> tuple[AnchorSet, Scorer]:
        if (definition.slug, profile.task) == ("pistol", "edit"):
            raise PictureError("no scenes of 'pistol'.")
        anchors, scorer = toy_collection(seed=len(definition.slug))
        return replace(anchors, space=replace(anchors.space, task=profile.task)), scorer

    monkeypatch.setattr(
        "uvr.anchors.collection.load_pipeline",
        lambda _, task, *__: (None, PROFILES[f"testbed-{task}"]),
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", collect)
    result = run("collect-anchors", "pistol", "knife", *tasks, "--yes")
    assert result.code == (PictureError.exit_code if tasks else 0)
    assert "no scenes of 'pistol'" in result.err
    assert [info.latest_version for info in filled.concepts.list()] == [1, 1 if tasks else 2]


def test_a_definition_that_changes_during_collection_is_a_conflict(run, filled, monkeypatch):
    def collect_slowly(*arguments: Any) -> tuple[AnchorSet, Scorer]:
        changed = replace(load_shipped("knife"), description="Changed meanwhile.")
        filled.concepts.add(changed, actor="other")
        return toy_collection(seed=1)

    monkeypatch.setattr(
        "uvr.anchors.collection.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", collect_slowly)
    result = run("collect-anchors", "knife", "--task", "t2i")
    assert (result.code, result.out) == (4, "")
    assert "definition of 'knife'" in result.err.splitlines()[-1]
    assert filled.concepts.get("knife").versions == ()


@pytest.mark.parametrize(
    ("missing", "message"), [("with/0.mask.png", "has no mask"), ("without", "compare")]
)
def test_collecting_from_incomplete_folders_says_what_is_missing(
    run, filled, models, pictures, missing, message
):
    options = ["--images", pictures / "with"]
    if missing != "without":
        (pictures / missing).unlink()
        options += ["--benign", pictures / "without"]
    result = run("collect-anchors", "pistol", "--model", models["t2i"], *options, "--yes")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


@pytest.mark.parametrize(
    ("profile", "message"), [("flux.1-kontext-dev", "for flux"), ("testbed-edit", "testbed-bomb")]
)
def test_editing_anchors_need_pictures_of_the_concept(profile, message):
    with pytest.raises(PictureError, match=message):
        collect(None, PROFILES[profile], load_shipped("pistol"), Exemplars())


def test_a_rate_that_the_pictures_cannot_promise_is_refused_before_any_is_drawn():
    definition = replace(
        load_shipped("pistol"), near_misses=("a toy",), benign=("a cup", "a cat"),
        parameters={"image_false_positive_rate": 0.01, "seeds_per_prompt": 5},
    )  # fmt: skip
    with pytest.raises(InputError, match="from 15 pictures without the concept: 99 are needed"):
        collect(None, PROFILES["flux.1-dev"], definition, Exemplars())


FEW = "4 were looked at, and 5% needs 19 or more"


def give(monkeypatch, *collected):
    """Have the tasks' collections be these, in turn."""
    found = iter(collected)
    monkeypatch.setattr(
        "uvr.anchors.collection.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: next(found))


def test_new_anchors_take_the_place_of_others_only_when_told_so(run, filled, monkeypatch):
    give(monkeypatch, toy_collection(1), toy_collection(2))
    command = ("collect-anchors", "pistol", "--task", "t2i")
    refused = run(*command)
    assert (refused.code, refused.out) == (2, "")
    warned, why = refused.err.splitlines(True)
    assert warned.startswith("Warning: pistol: The testbed does not draw what these ask for: 'a c")
    assert why == (
        "Error: The next version will have new anchors in place of the 5 t2i anchors of pistol@1. "
        "Go on? There is no terminal to ask on: give --add to keep those too, or --yes. "
        "See `uvr-registry collect-anchors --help`.\n"
    )
    assert filled.concepts.get("pistol").version().number == 1
    assert run(*command, "--yes").out == (
        "pistol version 2: 5 anchors, 6 counter-anchors\n  t2i: 5 in place of 5 of version 1\n"
        "  t2i: what these thresholds promise and reach was not measured\n"
    )


def test_what_has_no_anchors_yet_is_not_asked_about(run, filled, monkeypatch):
    give(monkeypatch, toy_collection(1), toy_collection(2))
    assert run("collect-anchors", "knife", "--task", "t2i").code == 0
    filled.versions.submit("knife", actor="tester")
    filled.versions.revoke("knife", 1, actor="tester", reason="wrong pictures")
    assert run("collect-anchors", "knife", "--task", "t2i").code == 0


def test_anchors_and_references_are_added_to_those_that_are_there(run, models, pictures):
    folders = ("--images", pictures / "with", "--benign", pictures / "without")
    command = ("collect-anchors", "pistol", "--model", models["t2i"])
    known = ("--origin", "archive 12", "--legal-basis", "licence 7")
    run("init")
    run("add-concept", "pistol")
    first = run(*command, *folders, *known, "--json").json()["pistol"]
    again = run(*command, *folders, "--add")
    assert (again.code, again.out) == (4, "")
    assert "are there already" in again.err
    for index in range(4):
        Image.new("RGB", (64, 64), (20, 90, 40 * index)).save(pictures / f"with/{index}.png")
    added = run(*command, *folders, "--add")
    count = first["anchors"]
    assert added.out.startswith(
        f"pistol version 2: {2 * count} anchors, {2 * first['counter_anchors']} counter-anchors\n"
        f"  t2i: {count} added to the {count} of version 1\n"
        "  t2i: finds "
    )
    listed = run("exemplars", "list", "pistol", "--json").json()
    assert sorted(item["versions"] for item in listed) == [["pistol@1"]] * 8 + [["pistol@2"]] * 8


def test_pictures_that_do_not_show_what_their_folder_says_are_told(run, filled, models, pictures):
    Image.new("L", (64, 64)).save(pictures / "with/1.mask.png")
    told = run(
        "collect-anchors", "knife", "--model", models["t2i"], "--images", pictures / "with",
        "--benign", pictures / "without", "--json",
    )  # fmt: skip
    warning = told.json()["knife"]["warnings"][0]
    assert warning == (
        f"The mask of '{pictures / 'with/1.png'}' covers nothing, so the picture gives no anchors. "
        "A mask is white where the picture shows the concept."
    )
    assert f"Warning: knife: {warning}\n" in told.err


def test_collecting_ends_by_saying_what_is_found_and_what_would_help(run, filled, models, pictures):
    command = ("collect-anchors", "knife", "--model", models["t2i"])
    folders = ("--images", pictures / "with", "--benign", pictures / "without")
    name, found, *rest = run(*command, *folders, "--variants", "none").out.splitlines()
    assert name.startswith("knife version 1: ")
    recall = filled.versions.get("knife").spaces[0].calibration["found"]
    assert recall["n"] == 4
    assert found.startswith(f"  t2i: finds {100 * recall['hits'] // 4}% of its pictures (n = 4, ")
    assert "at most 20% of others match (measured " in found
    helps = ["  t2i: what would help: more pictures of it (4 so far)"]
    weak = f"  t2i: WARNING: As many as 20% of other pictures may match: {FEW}."
    assert rest == [weak, *(helps if recall["hits"] < 4 else [])]


def test_collecting_warns_where_no_ordinary_picture_was_looked_at(run, filled, models, pictures):
    (pictures / "others").mkdir()
    (pictures / "without").rename(pictures / "others/near-miss")
    folders = ("--images", pictures / "with", "--benign", pictures / "others")
    told = run("collect-anchors", "knife", "--model", models["t2i"], *folders)
    warning = "No ordinary pictures: it may match any of them. Add benign prompts or pictures"
    assert f"\n  t2i: WARNING: {warning}" in told.out
    assert filled.versions.get("knife").spaces[0].calibration["ordinary"] == 0


def test_pictures_are_varied_where_that_is_asked_for(run, filled, models, pictures):
    command = ("collect-anchors", "knife", "--model", models["t2i"], "--images", pictures / "with",
               "--benign", pictures / "without", "--yes")  # fmt: skip
    told = run(*command, "--variants", "smaller", "--variants", "flipped").out
    usual = filled.versions.get("knife").spaces[0]
    assert usual.calibration["found"]["n"] == 4
    by_kind = {kind: share["n"] for kind, share in usual.calibration["found_by_kind"].items()}
    assert by_kind == {"smaller variants": 4, "flipped variants": 4}
    assert "; smaller variants " in told
    run(*command, "--variants", "flipped")
    flipped = filled.versions.get("knife").spaces[0]
    assert set(flipped.calibration["found_by_kind"]) == {"flipped variants"}
    run(*command)
    given = filled.versions.get("knife").spaces[0]
    assert (given.calibration["found_by_kind"], 2 * given.anchors) == ({}, flipped.anchors)
    both = run(*command, "--variants", "none", "--variants", "moved")
    assert (both.code, "goes with no other" in both.err) == (2, True)
    alone = run("collect-anchors", "knife", "--variants", "moved")
    assert (alone.code, "goes with --images" in alone.err) == (2, True)


def test_anchors_for_the_check_do_not_follow_from_captions(run, models, pictures):
    run("init")
    run("add-concept", "testbed-bomb")
    command = ["collect-anchors", "testbed-bomb", "--model", models["t2i"], "--task", "check"]
    folders = ["--images", pictures / "with", "--benign", pictures / "without"]
    assert run(*command, *folders).code == 0
    for file in (*pictures.glob("with/?.png"), *pictures.glob("without/?.png")):
        file.with_suffix(".txt").write_text("a red ball on the left")
    again = run(*command, *folders, "--yes")
    assert (again.code, "already" in again.err) == (4, True)  # the same anchors to the bit
    found = run("show", "testbed-bomb", "--json").out
    assert '"task": "check"' in found
    assert '"sigma": 0.15' in found
