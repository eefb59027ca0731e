"""Collections that are planned, stopped, killed and gone on with; random weights draw."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from concepts.definition import load_definition
from uvr.anchors.capturing import Capturing
from uvr.anchors.extract import collect_from_prompts
from uvr.pipelines import load_pipeline

SLUG, PICTURES = "ball", 36
DEFINITION = """\
slug: ball
name: Ball
category: object
description: A ball.
prompts: [a red ball, a blue ball]
near_misses: [a red cup, a blue cup]
benign: [a star, a cup on the left]
parameters: {seeds_per_prompt: 6}
"""


@pytest.fixture
def command(run, models, tmp_path) -> tuple[str | Path, ...]:
    (tmp_path / "ball.yaml").write_text(DEFINITION)
    run("init")
    run("add-concept", "ball.yaml")
    return ("collect-anchors", SLUG, "--steps", "2", "--model", models["t2i"])


def steps(said: str) -> list[int]:
    """How many pictures each line of progress tells."""
    rows = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {(row["step"], row["total"]) for row in rows} == {(f"{SLUG} t2i", PICTURES)}
    return [row["done"] for row in rows]


def test_a_killed_collection_goes_on_and_gives_the_anchors_of_one_that_was_not(
    run, models, command, home
):
    one_by_one = (*command, "--batch-size", "1", "--progress", "json")
    started = subprocess.Popen(
        [sys.executable, "-m", "cli", *map(str, one_by_one)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        said = [started.stderr.readline() for _ in range(3)]
    finally:
        started.kill()
        late = started.communicate()[1]
    assert started.returncode == -signal.SIGKILL
    before = steps("".join(said) + late)[-1]
    assert 3 <= before < PICTURES

    again = run(*one_by_one, "--json")
    there, *drawn = steps(again.err)
    assert there in (before, before + 1)  # the last was kept, and not told any more
    assert drawn == list(range(there + 1, PICTURES + 1))
    assert list((home / "cache").rglob("*.npy")) == []
    pipe, profile = load_pipeline(str(models["t2i"]))
    definition = load_definition(Path("ball.yaml"))
    whole = collect_from_prompts(pipe, profile, definition, steps=2, capturing=Capturing(1))
    (space,) = again.json()[SLUG]["spaces"]
    assert space["anchor_set"] == whole.digest


def test_a_plan_tells_what_a_collection_takes_and_keeps_what_it_tried(run, command, home):
    told = run(*command, "--plan", "--json").json()
    (plan,) = told["plans"]
    assert (plan["pictures"], plan["kept"], plan["batches"]) == (PICTURES, 8, 5)
    assert plan["seconds_left"] == pytest.approx(4 * plan["seconds_a_batch"])
    (file,) = (home / "cache" / "features").rglob("*.npy")
    assert plan["disk_bytes"] == pytest.approx(3.5 * file.stat().st_size, rel=0.01)
    again = run(*command, "--plan")
    assert again.out.splitlines()[1].split()[:5] == [SLUG, "t2i", str(PICTURES), "16", "5"]
    assert "testbed on cpu in float32: about " in again.out
    assert run("concepts", "--json").json()[0]["latest_version"] is None
    assert run("gc", "--grace", "0h", "--yes").out.splitlines()[1].startswith("Deleted 2 files of")


def test_what_was_drawn_for_a_dry_run_is_drawn_once(run, command):
    assert run(*command, "--dry-run").code == 0
    assert steps(run(*command, "--progress", "json").err) == [PICTURES]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_options_that_do_not_fit_the_machine_or_each_other_are_refused(run, command):
    flux = (*command[:-1], "black-forest-labs/FLUX.1-dev")
    large = run(*flux, "--plan")
    assert (large.code, "is a repository of the hub" in large.err) == (1, True)
    offload = run(*command, "--offload", "model")
    assert (offload.code, "nothing to offload from" in offload.err) == (3, True)


def test_a_plan_is_not_tried_on_a_cluster(run, command):
    pytest.importorskip("ray")
    refused = run(*command, "--plan", "--engine", "ray")
    assert (refused.code, "leave --engine out" in refused.err) == (2, True)


def test_what_the_testbed_does_not_draw_is_told_before_it_is_tried(run, command):
    said = run("collect-anchors", SLUG, "--plan", "--task", "t2i", "--steps", "2", "--json")
    (plan,) = said.json()["plans"]
    (warning,) = plan["warnings"]
    assert warning.startswith(
        "The testbed does not draw what these ask for: 'a red ball', 'a blue ball', 'a red cup', "
    )
    assert said.err.startswith(f"Warning: {SLUG}: {warning}\n")
