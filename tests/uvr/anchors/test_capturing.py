"""Features are captured once, and kept until they are asked for again."""

from __future__ import annotations

import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from concepts.errors import UVRError
from concepts.files import in_use
from uvr.anchors.batches import batch_key, drawn_batches, noised_batches, shared_content
from uvr.anchors.capturing import Capturing, capture_here
from uvr.anchors.exemplars import Exemplars
from uvr.anchors.extract import collect_from_images, collect_from_prompts
from uvr.anchors.feature_folder import FeatureFolder
from uvr.anchors.plan import plan_collection
from uvr.families.flux import FluxFamily
from uvr.sample import DRAWN, Sample

PICTURE_BYTES = 64 * 64 * 4  # patches of two taps of 32 features


class Counting:
    """Captures here, counts pictures, and stops after some batches."""

    def __init__(self, stop_after: int = 1000) -> None:
        self.pictures = 0
        self.left = stop_after

    def __call__(self, batches, source):
        for key, features in capture_here(batches, source):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            self.pictures += len(features[0])
            yield key, features


def samples(count: int) -> list[Sample]:
    random = np.random.default_rng(4)
    mask = np.zeros((32, 32), dtype=bool)
    mask[:13, :8] = True
    pictures = random.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
    kinds = ["", DRAWN] * count
    return [
        Sample(Image.fromarray(picture), mask, "a cup", kind=kind)
        for picture, kind in zip(pictures, kinds, strict=False)
    ]


def test_a_stopped_collection_goes_on_and_ends_as_one_in_memory(
    t2i_pipe, t2i_profile, tmp_path, ball
):
    def collect(capturing: Capturing, **more):
        return collect_from_prompts(t2i_pipe, t2i_profile, ball, capturing=capturing, **more)

    whole = collect(Capturing(2))
    folder = FeatureFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        collect(Capturing(2, folder, Counting(stop_after=3)))
    assert len(folder) == 3
    rest, seen = Counting(), []
    again = Capturing(2, folder, rest)
    assert collect(again, progress=lambda *at: seen.append(at)).digest == whole.digest
    assert (rest.pictures, seen) == (3, [(6, 9), (8, 9), (9, 9)])
    assert again.used == set(folder)
    folder.discard(again.used)
    assert list(tmp_path.iterdir()) == []


def test_noised_pictures_go_on_with_the_noise_that_they_would_have_had(
    edit_pipe, edit_profile, tmp_path
):
    def collect(capturing: Capturing):
        return collect_from_images(
            edit_pipe, edit_profile, samples(5), samples(6), capturing=capturing, noise_draws=2
        )

    folder = FeatureFolder(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        collect(Capturing(2, folder, Counting(stop_after=7)))
    assert collect(Capturing(2, folder)).digest == collect(Capturing(2)).digest


def test_what_decides_the_features_is_in_their_key(t2i_pipe, t2i_profile):
    def keys(pipe, profile, **more):
        shared = shared_content(pipe, profile)
        asked = {"prompts": ["a cup"] * 3, "seed": 0, "steps": 4, "size": 2, **more}
        drawn = drawn_batches(asked.pop("prompts"), **asked)
        noised = noised_batches(pipe, profile, samples(4)[::2], 0.5, seed=asked["seed"], size=1)
        return {batch_key(shared, batch) for batch in (*drawn, *noised)}

    usual = keys(t2i_pipe, t2i_profile)
    assert len(usual) == 4
    assert keys(t2i_pipe, t2i_profile) == usual
    assert keys(t2i_pipe, replace(t2i_profile, calibration={"margin": 0.5})) == usual
    assert keys(t2i_pipe, replace(t2i_profile, sigma=0.6)).isdisjoint(usual)
    assert keys(t2i_pipe, t2i_profile, seed=1).isdisjoint(usual)
    assert len(keys(t2i_pipe, t2i_profile, steps=5) - usual) == 2
    assert len(keys(t2i_pipe, t2i_profile, prompts=["a cup"] * 2) & usual) == 3
    t2i_pipe.to(torch.bfloat16)
    assert keys(t2i_pipe, t2i_profile).isdisjoint(usual)


def test_a_family_that_draws_other_noise_than_it_says_is_a_slip(t2i_pipe, t2i_profile, monkeypatch):
    monkeypatch.setattr(FluxFamily, "noise_size", lambda *_: 1000)
    with pytest.raises(ValueError, match="other noise than its noise_size"):
        collect_from_images(t2i_pipe, t2i_profile, samples(2), samples(2))


def test_a_plan_tries_a_batch_and_keeps_it(t2i_pipe, t2i_profile, tmp_path, ball):
    capturing = Capturing(2, FeatureFolder(tmp_path))
    plan = plan_collection(t2i_pipe, t2i_profile, ball, Exemplars(), capturing)
    assert (plan.pictures, plan.kept, plan.batches, plan.batch_size) == (9, 2, 5, 2)
    assert plan.disk_bytes == 7 * 2 * PICTURE_BYTES
    assert (plan.device, plan.dtype) == ("cpu", "float32")
    assert plan.seconds_left == 4 * plan.seconds_a_batch > 0
    drawn = Counting()
    collect_from_prompts(t2i_pipe, t2i_profile, ball, capturing=replace(capturing, engine=drawn))
    assert drawn.pictures == 7
    done = plan_collection(t2i_pipe, t2i_profile, ball, Exemplars(), capturing)
    assert (done.kept, done.disk_bytes, done.seconds_a_batch, done.seconds_left) == (9, 0, None, 0)


def test_a_full_disk_is_told_before_anything_is_drawn(
    t2i_pipe, t2i_profile, tmp_path, monkeypatch, ball
):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(9 * 2 * PICTURE_BYTES - 1))
    capturing = Capturing(2, FeatureFolder(tmp_path / "later"), Counting(stop_after=0))
    with pytest.raises(UVRError, match=r"take 0\.0 GB on the way, and the disk of '.*later'"):
        collect_from_prompts(t2i_pipe, t2i_profile, ball, capturing=capturing)


def test_a_folder_keeps_features_as_they_are(tmp_path):
    folder = FeatureFolder(tmp_path / "features")
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype(np.float32)
    folder["ab" * 32] = (features[0], features[1, ::-1])
    assert ("ab" * 32 in folder, "cd" * 32 in folder) == (True, False)
    look, late = folder["ab" * 32]
    assert isinstance(look.base, np.memmap)
    assert np.array_equal(look, features[0])
    assert np.array_equal(late, features[1, ::-1])
    with pytest.raises(KeyError):
        folder["cd" * 32]
    del folder["ab" * 32]
    assert list(folder) == []


@pytest.mark.parametrize("damage", ["empty", "cut off", "changed", "no array", "another's"])
def test_features_that_were_damaged_count_as_lacking_and_are_kept_anew(tmp_path, damage):
    folder, file = FeatureFolder(tmp_path), tmp_path / "a.npy"
    features = np.random.default_rng(0).normal(size=(2, 2, 4, 5)).astype(np.float32)
    folder["a"] = tuple(features)
    assert "a" in folder
    whole = file.read_bytes()
    at = len(whole) // 2
    bad = {
        "empty": b"", "cut off": whole[:-40], "no array": b"features" * 9,
        "changed": whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :],
    }  # fmt: skip
    if damage == "another's":
        np.save(file, features)
    else:
        file.write_bytes(bad[damage])
    assert "a" not in folder
    with pytest.raises(KeyError):
        folder["a"]
    folder["a"] = tuple(features)
    assert np.array_equal(FeatureFolder(tmp_path)["a"], features)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_no_numbers_do_not_go_on_to_the_next_collection(tmp_path, value):
    FeatureFolder(tmp_path)["a"] = (np.full((2, 4, 5), value, dtype=np.float32),)
    assert "a" not in FeatureFolder(tmp_path)


def test_features_are_left_where_another_collection_may_read_them(tmp_path):
    folder = FeatureFolder(tmp_path)
    folder["a"] = folder["b"] = (np.ones((2, 4, 5), dtype=np.float32),)
    with in_use(tmp_path):
        folder.discard(["a"])
    assert list(folder) == ["a", "b"]
    folder.discard(["a", "gone"])
    assert list(folder) == ["b"]
