"""Commands on anchors; tiny random weights stand in for the testbed's."""

from dataclasses import replace
from typing import Any

import pytest

from concepts.anchors import AnchorSet
from concepts.definition import load_shipped
from concepts.scorer import Scorer
from tests.conftest import toy_collection
from uvr.anchors.collection import Source, collect
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
                 "--images", pictures / "with", "--benign", pictures / "without")  # fmt: skip
    assert result.code == 130
    assert filled.audit.events() == before
    assert [version.number for version in filled.concepts.get("pistol").versions] == [1]


def test_a_refused_version_does_not_lose_the_other_concepts_anchors(run, filled, monkeypatch):
    monkeypatch.setattr(
        "uvr.anchors.collection.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", lambda *_: toy_collection())
    filled.versions.submit("pistol", actor="tester")
    result = run("collect-anchors", "pistol", "knife", "--task", "t2i", "--json")
    assert (result.code, list(result.json())) == (4, ["knife"])
    assert result.err == (
        "Warning: 100% of these anchors of knife lie within 0.05 of pistol version 1 (approved): "
        "do both ban the same?\n"
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
        "uvr.anchors.collection.load_pipeline", lambda _, task: (None, PROFILES[f"testbed-{task}"])
    )
    monkeypatch.setattr("uvr.anchors.collection.collect", collect)
    result = run("collect-anchors", "pistol", "knife", *tasks)
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
    assert (result.code, result.out, len(result.err.splitlines())) == (4, "", 1)
    assert "definition of 'knife'" in result.err
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
    result = run("collect-anchors", "pistol", "--model", models["t2i"], *options)
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert message in result.err


@pytest.mark.parametrize(
    ("profile", "message"), [("flux.1-kontext-dev", "with flux"), ("testbed-edit", "testbed-bomb")]
)
def test_editing_anchors_need_pictures_of_the_concept(profile, message):
    with pytest.raises(PictureError, match=message):
        collect(None, PROFILES[profile], load_shipped("pistol"), Source())


def test_prototypes_share_out_the_anchors(run, filled):
    rows = run("prototypes", "pistol", "-k", 2, "--json").json()
    assert sum(row["anchors"] for row in rows) == 5
    assert sum(row["share"] for row in rows) == pytest.approx(1)


def test_pictures_are_recorded_by_hash_and_forgotten(run, models, pictures):
    run("init")
    run("add-concept", "pistol")
    collected = run(
        "collect-anchors", "pistol", "--model", models["t2i"], "--images", pictures / "with",
        "--benign", pictures / "without", "--origin", "archive 12", "--legal-basis", "licence 7",
        "--retain-until", "30d", "--prototypes", 2, "--json",
    )  # fmt: skip
    digest = collected.json()["pistol"]["content_digest"]
    listed = run("sources", "list", "pistol", "--json").json()
    assert len(listed) == 8
    assert {(item["origin"], item["legal_basis"]) for item in listed} == {
        ("archive 12", "licence 7")
    }
    assert run("sources", "list", "--due", "1d", "--json").json() == []
    forget = ("sources", "forget", listed[0]["sha256"], "--reason", "asked")
    assert run(*forget).code == 2
    assert run(*forget, "--yes").out == "Forgot 1 reference.\n"
    assert len(run("sources", "list", "--json").json()) == 7
    assert run("show", "pistol", "--json").json()["versions"][0]["content_digest"] == digest
