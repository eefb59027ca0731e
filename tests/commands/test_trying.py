"""Trying a prompt, by a worker and by hand; tiny random weights stand in for the testbed's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from console.evidence.tried import read_tried
from registry.registry import Registry
from tests.console.conftest import Visitor, read


@pytest.fixture
def live(run, models, pictures):
    """A release that is live and finds its concept in whatever is drawn or edited."""
    run("init")
    run("add-concept", "pistol")
    folders = ["--images", pictures / "with", "--benign", pictures / "without"]
    tasks = {**models, "check": models["t2i"]}
    for task, model in tasks.items():
        made = run("collect-anchors", "pistol", "--model", model, "--task", task, *folders)
        assert made.code == 0, made.err
    low = [word for task in tasks for word in ("--threshold", task, -1000, -1000)]
    run("edit-version", "pistol", *low)
    run("submit", "pistol")
    assert run("release", "policy").code == 0
    assert run("channel", "move", "prod", "policy").code == 0


def test_a_worker_tries_a_prompt_and_the_console_shows_it(run, live, models, home):
    asked = ["--release=policy@1", "--seed=3", "--steps=2", f"--model={models['t2i']}"]
    run("jobs", "add", "try", *asked, "--", "a <b>red</b> ball")
    registry = Registry.open(home)
    events = len(registry.audit.events())
    assert run("worker", "--once").code == 0
    job = registry.jobs.show(1)
    assert (job.state, job.result["said"]) == ("done", "Pistol was found and regulated.")
    assert job.result["found"][0]["slug"] == "pistol"
    visitor = Visitor(registry, actor="tester")
    page = visitor.page("/try/1")
    assert "a <b>red</b> ball" in page
    assert "Pistol was found and regulated." in page
    assert "Tried under policy@1" in page
    assert "Most like Pistol picture" in page
    assert "Regulated: Pistol was found by the check." in page
    shots = [at for tag, at in read(visitor.get("/try/1").text).elements if tag == "img"]
    assert [at["alt"] for at in shots if at["alt"]] == [
        "Not regulated: a <b>red</b> ball", "Regulated: a <b>red</b> ball",
        "The redder, the more alike",
    ]  # fmt: skip
    assert len(registry.audit.events()) == events


def test_a_picture_is_changed_with_and_without_a_version(run, live, models):
    Image.new("RGB", (64, 64), (230, 20, 20)).save("given.png")
    told = run("try", "make it blue", "--version", "pistol", "--picture", "given.png",
               "--model", models["edit"], "--steps", 2, "--out", "out", "--json")  # fmt: skip
    assert told.code == 0, told.err
    shown = told.json()
    assert (shown["bundle"], shown["number"], shown["alone"]) == ("pistol", 3, True)
    assert {path.name for path in Path("out").iterdir()} == {
        "given.png", "stock.png", "regulated.png", "heat-map-pistol.png", "report.json",
        "tried.json", "checks.json",
    }  # fmt: skip
    assert list(shown["checked"]) == ["stock", "regulated"]
    kept = read_tried(Path("out"))
    assert kept.about.subject == "pistol@3 alone"
    assert np.asarray(kept.pictures["given"]).tolist() == [[[230, 20, 20]] * 64] * 64
    assert json.loads(Path("out/report.json").read_text())["task"] == "edit"


def test_a_picture_alone_is_checked(run, live, models):
    Image.new("RGB", (90, 60), (230, 20, 20)).save("found.png")
    words = ["--picture", "found.png", "--model", models["t2i"]]
    told = run("try", *words, "--release", "policy", "--out", "out", "--json")
    assert told.code == 0, told.err
    shown = told.json()
    assert (shown["prompt"], shown["said"]) == ("", "Pistol was found by the check.")
    assert (shown["checked"]["given"]["outcome"], shown["unchecked"]) == ("flagged", [])
    assert {path.name for path in Path("out").iterdir()} == {
        "given.png", "heat-map-pistol.png", "checks.json", "tried.json",
    }  # fmt: skip
    judged = run("try", *words, "--release", "policy", "--check", "testbed").out.splitlines()
    assert judged == [
        "Wrote tried", "Nothing banned was found.", "An engine with this check would deliver it.",
        "The check does not look for pistol.",
    ]  # fmt: skip


def test_a_picture_needs_examples_for_the_check(run, filled, models):
    Image.new("RGB", (64, 64)).save("found.png")
    told = run("try", "--picture", "found.png", "--version", "pistol", "--model", models["t2i"])
    assert (told.code, "task 'check'" in told.err) == (6, True)
    assert not Path("tried").exists()


def test_what_cannot_be_tried_is_refused(run, filled):
    run("release", "policy")
    assert run("try", "a cup").code == 2
    assert run("try", "--release", "policy").code == 2
    assert run("try", "a cup", "--release", "policy", "--version", "pistol").code == 2
    assert run("try", "a cup", "--release", "policy@9").code == 3
    assert run("try", "a cup", "--version", "knife").code == 3
    assert run("try", "a cup", "--release", "policy", "--model", "nowhere").code == 3
    Path("no.png").write_text("no picture")
    assert run("try", "a cup", "--release", "policy", "--picture", "no.png").code == 2
    assert not Path("tried").exists()
