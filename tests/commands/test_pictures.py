"""Commands that draw; tiny random weights stand in for the testbed's."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concepts.bundle import write_bundle
from tests.commands.conftest import on_both
from tests.conftest import Result, toy_collection
from tests.uvr.conftest import bundle_of, make_scorer
from tests.uvr.engine.conftest import locked
from uvr.anchors.pictures import read_picture
from uvr.profile_file import dump_profile
from uvr.profiles import PROFILES
from uvr.report import ConceptFinding, RegulationReport


def finding(slug: str, *, enforced: bool, fired: bool = True) -> ConceptFinding:
    return ConceptFinding(
        slug=slug, name=slug.title(), version=1, mode="enforce" if enforced else "log",
        fired=fired, step=1, sigma=0.9, score=3.0, threshold=2.0, area=1.0,
        mask=np.full((1, 1), fired), scores=np.ones((1, 1)),
    )  # fmt: skip


def test_a_file_that_is_no_picture_is_refused(run, tmp_path):
    (tmp_path / "text.png").write_text("not a picture")
    result = run("edit", "text.png", "make it red")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "text.png" in result.err


@on_both
def test_pictures_become_a_version_and_a_bundle_that_regulates(run, models, pictures):
    run("init")
    run("add-concept", "pistol")
    for task, count in (("t2i", 1), ("edit", 2)):
        folders = ["--images", pictures / "with", "--benign", pictures / "without"]
        collected = run("collect-anchors", "pistol", "--model", models[task], *folders, "--json")
        version = collected.json()["pistol"]
        assert (version["number"], version["anchors"] > 0) == (count, True)
    picture = (pictures / "with" / "0.png", "--model", models["t2i"])
    unseen = run("search", *picture)
    assert unseen.out == (
        "Nothing is live or approved yet. 1 draft left out (--drafts adds them).\n"
    )
    drafts = run("search", *picture, "--drafts", "--json").json()
    assert drafts["looked_at"] == [{"slug": "pistol", "version": 2, "state": "draft"}]
    run("release", "policy", "--out", "policy.uvr")

    search = run("search", *picture, "-k", "3", "--json")
    assert {item["state"] for item in search.json()["anchors"]} == {"approved"}
    assert run("search", *picture).out.startswith("Looked at 1 version: 1 approved.\nConcepts\n")
    assert [item["slug"] for item in search.json()["concepts"]] == ["pistol"]
    assert len(search.json()["anchors"]) == 3
    wide = run("search", *picture, "-k", 50, "--json")
    rows = wide.json()["anchors"]
    assert len({(row["slug"], row["version"], row["anchor"]) for row in rows}) == len(rows) > 3

    common = ["--steps", "2", "--bundle", "policy.uvr"]
    drawn = run("generate", "a red ball", "--model", models["t2i"], *common, "--heat-map", "h.png")
    assert (drawn.code, drawn.out.splitlines()[0]) == (0, "Wrote picture.png")
    assert read_picture("h.png").size == read_picture("picture.png").size == (64, 64)
    assert json.loads(Path("picture.json").read_text())["bundle"] == "policy"

    edited = run("edit", "picture.png", "make it red", "--model", models["edit"], *common,
                 "--out", "deep/edited.png", "--report", "r.json")  # fmt: skip
    assert edited.code == 0
    assert read_picture("deep/edited.png").size == (64, 64)
    assert json.loads(Path("r.json").read_text())["bundle"] == "policy"


def test_a_profile_from_a_file_is_collected_and_drawn_with(run, models, pictures):
    profile = replace(
        PROFILES["testbed-t2i"], model="mine", name="mine-t2i",
        taps=("single_transformer_blocks.2",), sigma=0.5,
    )  # fmt: skip
    Path("mine.yaml").write_text(dump_profile(profile))
    common = ("--model", models["t2i"], "--profile", "mine.yaml")
    run("init")
    run("add-concept", "pistol")
    folders = ("--images", pictures / "with", "--benign", pictures / "without")
    collected = run("collect-anchors", "pistol", *common, *folders, "--json")
    (space,) = collected.json()["pistol"]["spaces"]
    assert (space["space"]["model"], space["space"]["sigma"]) == ("mine", 0.5)
    assert space["space"]["taps"] == ["single_transformer_blocks.2"]
    run("release", "policy", "--out", "policy.uvr")
    drawn = run("generate", "a red ball", *common, "--steps", 2, "--bundle", "policy.uvr",
                "--preset", "paper", "--strength", 0.5)  # fmt: skip
    assert (drawn.code, json.loads(Path("picture.json").read_text())["profile"]) == (0, "mine-t2i")
    found = run("search", pictures / "with" / "0.png", *common)
    assert found.out.startswith("Looked at 1 version")


def test_a_profile_that_does_not_fit_is_refused_in_one_line(run, models):
    deep = replace(PROFILES["testbed-t2i"], taps=("single_transformer_blocks.30",))
    for text, arguments, code, message in (
        ("sigma: 2", (), 2, "mine.yaml:1: document: missing: name, model"),
        (dump_profile(deep), (), 6, "no attention layer at single_transformer_blocks.30"),
        (dump_profile(PROFILES["testbed-edit"]), (), 6, "is for the task 'edit', not 't2i'"),
        (dump_profile(deep), ("--preset", "paper"), 2, "need --bundle"),
    ):
        Path("mine.yaml").write_text(text)
        result = run(
            "generate", "a ball", "--model", models["t2i"], "--profile", "mine.yaml", *arguments
        )
        assert (result.code, len(result.err.splitlines())) == (code, 1)
        assert message in result.err


def test_an_unknown_preset_is_refused_before_a_model_is_loaded(run, filled):
    run("release", "policy", "--out", "policy.uvr")
    result = run("generate", "a ball", "--bundle", "policy.uvr", "--preset", "papers")
    assert (result.code, len(result.err.splitlines())) == (2, 1)
    assert "Did you mean 'paper'?" in result.err


def test_a_model_of_the_other_task_is_refused(run, models):
    result = run("generate", "a red ball", "--model", models["edit"])
    assert (result.code, len(result.err.splitlines())) == (6, 1)


def test_a_bundle_for_another_model_is_refused_before_a_picture(run, filled, models):
    run("release", "policy", "--out", "policy.uvr")  # 4 dimensions, as no model has
    result = run("generate", "a red ball", "--model", models["t2i"], "--bundle", "policy.uvr")
    assert (result.code, len(result.err.splitlines())) == (6, 1)
    assert not Path("picture.png").exists()


@pytest.mark.parametrize(
    ("findings", "lines"),
    [
        ([finding("a", enforced=True)], ["Found and regulated: a"]),
        ([finding("a", enforced=False)], ["Found and reported only: a"]),
        (
            [finding("a", enforced=False), finding("b", enforced=True)],
            ["Found and regulated: b", "Found and reported only: a"],
        ),
        ([finding("a", enforced=True, fired=False)], ["Nothing banned was found."]),
    ],
)
def test_only_what_is_enforced_is_called_regulated(
    run, filled, monkeypatch,
    findings, lines,
):  # fmt: skip
    run("release", "policy", "--out", "policy.uvr")
    report = RegulationReport(
        "policy", 1, "f" * 64, "testbed-t2i", looked=True, images=[findings],
        notes=["no anchors for this model and task: knife"],
    )  # fmt: skip
    drawn = Image.new("RGB", (16, 16)), report
    monkeypatch.setattr("uvr.pipelines.load_pipeline", lambda *_: (None, PROFILES["testbed-t2i"]))
    monkeypatch.setattr("uvr.drawing.draw", lambda *_, **__: drawn)
    result = run("generate", "a red ball", "--bundle", "policy.uvr")
    written = ["Wrote picture.png", "Wrote picture.json"]
    warned = "Warning: no anchors for this model and task: knife\n"
    assert result == Result(0, "\n".join([*written, *lines, ""]), warned)


def test_a_checked_picture_has_its_verdict_in_output_and_report(run, filled, models):
    width = len(PROFILES["testbed-t2i"].taps) * 32
    silent = make_scorer(np.ones(width), 1e9)
    bundle = bundle_of(PROFILES["testbed-t2i"], {"ball": silent}, dim=width)
    Path("policy.uvr").write_bytes(write_bundle(locked(bundle)))
    common = ["--model", models["t2i"], "--steps", 1, "--bundle", "policy.uvr"]
    judged = ["--check", "testbed", "--on-residual", "pass"]
    checked = run("generate", "a red ball", *common, *judged)
    (verdict,) = json.loads(Path("picture.json").read_text())["verdicts"]
    said = f"Verdict: untouched. {verdict['reason']}"
    assert (checked.code, checked.out.splitlines()[-1]) == (0, said)
    lacking = run("generate", "a red ball", *common, "--check", "features")
    assert (lacking.code, len(lacking.err.splitlines())) == (6, 1)
    assert "task 'check'" in lacking.err


def test_what_a_check_finds_needs_a_check(run, filled):
    assert run("generate", "a red ball", "--check", "testbed").code == 2
    run("release", "policy", "--out", "policy.uvr")
    result = run("generate", "a red ball", "--bundle", "policy.uvr", "--on-residual", "block")
    assert (result.code, "give both" in result.err) == (2, True)


def test_an_attributed_report_names_the_nearest_anchors(run, filled):
    anchors, _ = toy_collection()
    fired = replace(finding("pistol", enforced=True), feature=anchors.anchors[3].astype(np.float16))
    report = RegulationReport(
        "policy", 1, "f" * 64, "testbed-t2i", anchors.space.digest, images=[[fired]]
    )
    report.save("report.json")
    rows = run("attribute", "report.json", "-k", 2, "--json").json()
    assert [(row["picture"], row["slug"]) for row in rows] == [(0, "pistol")] * 2
    assert rows[0]["anchor"] == 3


def test_a_file_that_is_no_report_is_refused(run, filled):
    Path("report.json").write_text('{"images": []}')
    assert run("attribute", "report.json").code == 2
