from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from concepts.errors import UVRError
from tests.uvr.conftest import HEAD_DIM, HEADS, STEPS, call_pipe, make_transformer
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.capture import recorded_features
from uvr.anchors.capturing import Capturing
from uvr.anchors.extract import (
    collect_from_images,
    collect_from_prompts,
    patch_coverage,
)
from uvr.anchors.kinds import pictures_by_kind, variants_by_kind
from uvr.anchors.labels import label_patches
from uvr.conditions import conditions_of
from uvr.revision import weights_revision
from uvr.sample import Sample

DIM = 2 * HEADS * HEAD_DIM


def samples(count: int, *, masked: bool) -> list[Sample]:
    random = np.random.default_rng(int(masked))
    mask = np.zeros((32, 32), dtype=bool)
    mask[:13, :8] = True
    pictures = random.integers(0, 255, (count, 32, 32, 3), dtype=np.uint8)
    return [
        Sample(Image.fromarray(picture), mask if masked else None, "a cup") for picture in pictures
    ]


@pytest.mark.parametrize("task", ["t2i", "edit"])
def test_anchors_from_pictures_are_the_covered_patches(task, request):
    pipe = request.getfixturevalue(f"{task}_pipe")
    profile = request.getfixturevalue(f"{task}_profile")
    seen: list[tuple[int, int]] = []
    chosen = collect_from_images(
        pipe,
        profile,
        samples(2, masked=True),
        samples(3, masked=False),
        noise_draws=2,
        capturing=Capturing(4),
        progress=lambda done, total: seen.append((done, total)),
    )
    grid = 32 // (pipe.vae_scale_factor * 2)
    cells = patch_coverage(samples(1, masked=True)[0].mask, (grid, grid))
    covered, clear = int((cells >= 0.35).sum()), int((cells == 0).sum())
    assert covered > 0
    assert clear < grid * grid - covered  # a boundary patch belongs to neither
    assert chosen.anchors.shape == (2 * 2 * covered, DIM)
    assert chosen.counter_anchors.shape == (2 * (2 * clear + 3 * grid * grid), DIM)
    assert sorted(set(chosen.anchor_images.tolist())) == [0, 1]
    assert sorted(set(chosen.counter_images.tolist())) == [0, 1, 2, 3, 4]
    assert seen == [(4, 10), (8, 10), (10, 10)]
    assert chosen.space.taps == profile.taps
    scorer = fit_scorer(chosen)
    assert scorer.weights.shape == (1, DIM)
    conditions = {"height": 32, "width": 32, "steps": STEPS, "text_length": 12}
    assert scorer.metadata["conditions"] == [conditions]


def test_a_picture_of_the_concept_without_anchors_does_not_pass_for_a_benign_one(
    t2i_pipe, t2i_profile
):
    small = np.zeros((32, 32), dtype=bool)
    small[:2, :2] = True
    shown = samples(2, masked=True)
    shown[1] = replace(shown[1], mask=small)
    chosen = collect_from_images(t2i_pipe, t2i_profile, shown, samples(2, masked=False))
    assert set(chosen.anchor_images.tolist()) == {0}
    assert set(chosen.counter_images.tolist()) == {0, 2, 3}


def test_variants_of_pictures_are_collected_from_and_told(t2i_pipe, t2i_profile):
    shown, benign = samples(3, masked=True), samples(2, masked=False)
    shown[1] = replace(shown[1], mask=np.zeros((32, 32), dtype=bool))
    collect = partial(collect_from_images, t2i_pipe, t2i_profile, shown, benign, seed=5)
    chosen = collect(variants=("flipped", "recoloured"))
    pairs = {"flipped": [[5, 0], [6, 2]], "recoloured": [[7, 0], [8, 2]]}
    assert variants_by_kind(chosen.provenance) == pairs
    assert set(chosen.anchor_images.tolist()) == {0, 2, 5, 6, 7, 8}
    assert {5, 6, 7, 8} <= set(chosen.counter_images.tolist())
    assert collect(variants=("flipped", "recoloured")).digest == chosen.digest
    assert "variants" not in collect().provenance
    measured = fit_scorer(chosen).metadata["calibration"]
    assert (measured["found"]["n"], measured["matched"]["n"]) == (2, 2)
    by_kind = {kind: share["n"] for kind, share in measured["found_by_kind"].items()}
    assert by_kind == {"flipped variants": 2, "recoloured variants": 2}


def test_a_variant_that_gives_no_anchors_is_left_out(t2i_pipe, t2i_profile):
    thin = np.zeros((32, 32), dtype=bool)
    patch = t2i_pipe.vae_scale_factor * 2
    thin[:patch, :patch] = True  # made smaller it covers half a patch, or less of several
    shown = [replace(one, mask=thin) for one in samples(6, masked=True)]
    chosen = collect_from_images(
        t2i_pipe, t2i_profile, shown, samples(2, masked=False), variants=("smaller",)
    )
    pairs = variants_by_kind(chosen.provenance).get("smaller", [])
    assert len(pairs) < 6
    assert [number for number, _ in pairs] == list(range(8, 8 + len(pairs)))
    assert set(chosen.anchor_images.tolist()) == {*range(6), *(number for number, _ in pairs)}


def test_collection_leaves_the_pipeline_as_found(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    processors = t2i_pipe.transformer.attn_processors
    arguments = (t2i_pipe, t2i_profile, samples(1, masked=True), samples(2, masked=False))
    assert collect_from_images(*arguments).digest == collect_from_images(*arguments).digest
    assert t2i_pipe.transformer.attn_processors == processors
    assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def test_positive_pictures_need_masks(t2i_pipe, t2i_profile):
    with pytest.raises(UVRError, match="needs a mask"):
        collect_from_images(t2i_pipe, t2i_profile, samples(1, masked=False), [])


def test_anchors_from_prompts_come_from_the_look_step(t2i_pipe, t2i_profile, ball):
    chosen = collect_from_prompts(t2i_pipe, t2i_profile, ball, seed=2, capturing=Capturing(4))
    assert chosen.anchors.shape[1] == DIM
    assert set(chosen.anchor_images.tolist()) <= {0, 1, 2}
    assert {3, 4, 5, 6, 7, 8} <= set(chosen.counter_images.tolist())
    assert chosen.provenance["method"] == "prompts"
    assert pictures_by_kind(chosen.provenance) == {"near-miss": [3, 4, 5]}
    assert conditions_of(chosen.provenance)[0]["steps"] == STEPS
    assert chosen.space.sigma == t2i_profile.sigma


def test_recording_does_not_change_a_generation(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with recorded_features(t2i_pipe, t2i_profile) as recorded:
        recorded_latents = call_pipe(t2i_pipe, "a cup", [1])
    assert torch.equal(stock, recorded_latents)
    assert {name: part.shape for name, part in recorded.items()} == {
        "look": (1, 64, DIM),
        "late": (1, 64, DIM),
    }


@pytest.mark.parametrize("leak", [0.0, 4.0])
def test_patches_are_labelled_from_picture_labels_alone(leak):
    """Even when every patch of a picture shifts (by ``leak``) because the concept is in it."""
    random = np.random.default_rng(0)
    positive = random.normal(size=(20, 16, 8)).astype(np.float32)
    counter = random.normal(size=(40, 16, 8)).astype(np.float32)
    positive[:, :, 0] += leak
    positive[:, 3:6, 2] += 8
    shows, clear = label_patches(np.concatenate([positive, counter]), 20)
    assert shows[:, 3:6].mean() > 0.95
    assert shows[:, 6:].mean() < 0.05
    assert not (shows & clear).any()
    assert clear[:, 6:].mean() > 0.6


def test_coverage_counts_pixels_of_each_patch():
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[:4, :3] = 255
    assert patch_coverage(mask, (2, 2)).tolist() == [0.75, 0, 0, 0]
    assert patch_coverage(Image.fromarray(mask), (2, 2)).tolist() == [0.75, 0, 0, 0]
    assert patch_coverage(None, (2, 2)).tolist() == [0, 0, 0, 0]


def test_large_pictures_keep_a_bounded_number_of_counter_anchors(t2i_pipe, t2i_profile):
    large = replace(t2i_profile, call={**t2i_profile.call, "height": 96, "width": 96})
    chosen = collect_from_images(t2i_pipe, large, samples(1, masked=True), samples(1, masked=False))
    assert np.bincount(chosen.counter_images).tolist() == [256, 256]


def test_revision_follows_the_weights_and_not_their_precision():
    half = make_transformer().to(torch.bfloat16)
    revision = weights_revision(half)
    assert weights_revision(half.float()) == revision
    assert weights_revision(make_transformer(seed=1)) != revision
    half.fuse_qkv_projections()
    assert weights_revision(half) == revision
    half.register_to_config(_uvr_revision="r1")
    assert weights_revision(half) == "r1"
