"""The command that measures a model; tiny random weights stand in for a model of one's own."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from concepts.errors import GateError, MismatchError
from tests.uvr.conftest import make_pipe
from uvr.anchors.pictures import read_picture
from uvr.pipelines import load_to_analyse
from uvr.profile_file import load_profile

START = """\
name: mine-t2i
model: mine
task: t2i
taps: [transformer_blocks.0]
sigma: 0.9
stage_end: 0.85
call: {height: 64, width: 64, num_inference_steps: 16, max_sequence_length: 12}
"""


@pytest.fixture
def folders(tmp_path):
    """Pictures of noise; those with the concept have a bright square, or only claim to."""
    random = np.random.default_rng(0)
    for folder in ("bright", "claimed", "without"):
        (tmp_path / folder).mkdir()
        for index in range(12):
            pixels = random.integers(0, 90, (64, 64, 3), dtype=np.uint8)
            if folder == "bright":
                pixels[8:40, 8:40] = (255, 250, 240)
            Image.fromarray(pixels).save(tmp_path / folder / f"{index}.png")
            if folder != "without":
                mask = np.zeros((64, 64), dtype=np.uint8)
                mask[8:40, 8:40] = 255
                Image.fromarray(mask).save(tmp_path / folder / f"{index}.mask.png")
    return tmp_path


@pytest.fixture
def my_model(tmp_path):
    """A model of no known name, whose encoder is plain enough for a bright square to tell."""
    pipe = make_pipe()
    pipe.vae.register_to_config(scaling_factor=60.0)
    pipe.register_to_config(_name_or_path="")
    pipe.save_pretrained(tmp_path / "my-model")
    return tmp_path / "my-model"


def test_a_profile_is_proposed_for_a_model_of_ones_own_and_taken(run, my_model, folders):
    Path("start.yaml").write_text(START)
    pictures = ("--images", folders / "bright", "--benign", folders / "without")
    command = ("analyse", "pistol", "--model", my_model, "--profile", "start.yaml")
    found = run(*command, *pictures, "--levels", 3, "--out", "found", "--json")
    assert (found.code, found.json()["separates"]) == (0, True)
    assert json.loads(Path("found/analysis.json").read_text()) == found.json()
    assert read_picture("found/heat-map.png").width > 300
    profile = load_profile("found/profile.yaml")
    chosen = found.json()["chosen"]
    assert (profile.name, profile.taps) == ("mine-t2i", tuple(chosen["taps"]))
    assert 0 <= profile.sigma - chosen["sigma"] < 0.001
    run("init")
    run("add-concept", "pistol")
    collected = run("collect-anchors", "pistol", "--model", my_model, *pictures,
                    "--profile", "found/profile.yaml", "--json")  # fmt: skip
    assert collected.json()["pistol"]["spaces"][0]["space"]["model"] == "mine"


def test_where_nothing_separates_it_says_so_and_proposes_nothing(run, models, folders):
    found = run(
        "analyse", "pistol", "--model", models["t2i"], "--levels", 2, "--out", "found",
        "--images", folders / "claimed", "--benign", folders / "without",
    )  # fmt: skip
    assert found.code == GateError.exit_code
    assert "Error: Nothing separates: at best " in found.err
    assert sorted(path.name for path in Path("found").iterdir()) == [
        "analysis.json", "heat-map.png",
    ]  # fmt: skip


def test_stopping_leaves_no_files(run, models, folders, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("uvr.anchors.heat_map.heat_map", stop)
    stopped = run(
        "analyse", "pistol", "--model", models["t2i"], "--levels", 2, "--out", "found",
        "--images", folders / "bright", "--benign", folders / "without",
    )  # fmt: skip
    assert stopped.code == 130
    assert not Path("found").exists()


def test_a_model_without_a_profile_is_analysed_where_its_task_is_given(run, my_model, folders):
    pictures = ("--images", folders / "bright", "--benign", folders / "without")
    refused = run("analyse", "pistol", "--model", my_model, *pictures, "--out", "found")
    assert refused.code == MismatchError.exit_code
    assert refused.err.endswith("A model without one is analysed where its task is given.\n")
    _, profile = load_to_analyse(str(my_model), "t2i")
    assert (profile.name, profile.model, profile.task) == ("my-model-t2i", "my-model", "t2i")
    assert profile.taps == ("single_transformer_blocks.0",)  # in the middle of three
    assert profile.call == {
        "height": 256, "width": 256, "num_inference_steps": 28, "guidance_scale": 3.5,
        "max_sequence_length": 512,
    }  # fmt: skip
