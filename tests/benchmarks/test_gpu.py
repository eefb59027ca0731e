"""The benchmark of full-size models runs where there is no GPU, at tiny size."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from uvr.families.known import family_of

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_arm_is_timed_beside_the_stock_pipeline(tmp_path):
    path = tmp_path / "gpu.json"
    options = ["--tiny", "--rounds", "1", "--warm-up", "0", "--steps", "4", "--json", str(path)]
    subprocess.run(
        [sys.executable, FOLDER / "gpu.py", *options, "--batches", "1", "--compiled", "0"],
        check=True,
        capture_output=True,
    )
    document = json.loads(path.read_text())
    assert (document["device"], document["tiny"]) == ("CPU", True)
    settings = [("flux.1-dev", "t2i"), ("flux.2-klein-4b", "t2i"), ("flux.2-klein-4b", "edit")]
    arms = [("stock", 0), ("silent", 1), ("silent", 1000), ("fires", 1), ("fires", 1000)]
    arms.append(("whole matrix", 0))
    names = ("model", "task", "arm", "concepts", "steps", "n")
    rows = [tuple(row[name] for name in names) for row in document["rows"]]
    assert rows == [(*setting, *arm, 4, 1) for setting in settings for arm in arms]
    assert {row["ratio"] for row in document["rows"] if row["arm"] == "stock"} == {1.0}


@pytest.mark.parametrize(
    ("name", "billions", "profiles"),
    [
        ("flux.1-dev", 11.9, ["flux.1-dev"]),
        ("flux.2-klein-4b", 3.9, ["flux.2-klein-4b-t2i", "flux.2-klein-4b-edit"]),
    ],
)
def test_full_models_have_the_size_and_structure_of_the_real_ones(
    monkeypatch, name, billions, profiles
):
    monkeypatch.syspath_prepend(FOLDER)
    model = import_module("random_models").build(name, tiny=False, device="meta")
    parameters = sum(each.numel() for each in model.pipe.transformer.parameters())
    assert round(parameters / 1e9, 1) == billions
    assert [each.name for each in family_of(model.pipe).profiles(model.pipe)] == profiles
