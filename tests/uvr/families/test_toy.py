"""A family is a file: the toy family passes all that an engine does, with no change elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from concepts.bundle import Bundle
from concepts.errors import MismatchError
from tests.uvr.conftest import bundle_of, make_scorer
from tests.uvr.families.toy import (
    EDIT,
    PATCH,
    T2I,
    WIDTH,
    RegulatedToyAttention,
    ToyFamily,
    ToyPipeline,
    plain_attention,
)
from uvr import Regulator, fits, register_family
from uvr.anchors.calibration import fit_scorer
from uvr.anchors.capturing import Capturing
from uvr.anchors.extract import collect_from_images, collect_from_prompts
from uvr.families import known
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.report import RegulationReport
from uvr.sample import Sample

PROMPTS = ["a red cup", "a blue ball", "a star on the right"]
CFG = {"guidance": 2.5}


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> ToyPipeline:
    monkeypatch.setattr(known, "_FAMILIES", [*known._FAMILIES])
    register_family(ToyFamily())
    return ToyPipeline()


def bundle(profile: ModelProfile, threshold: float) -> Bundle:
    width = len(profile.taps) * WIDTH
    weights = np.random.default_rng(3).normal(size=width)
    return bundle_of(profile, {"ball": make_scorer(weights, threshold)}, dim=width)


def picture(seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def draw(pipe: ToyPipeline, profile: ModelProfile, **more: Any) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(seed) for seed in range(3)]
    originals = {"original": [picture(seed) for seed in range(3)]}
    arguments = {**profile.call, **(originals if profile.task == "edit" else {}), **more}
    return pipe(PROMPTS, generator=generators, **arguments)


def regulated(
    pipe: ToyPipeline, profile: ModelProfile, threshold: float, **more: Any
) -> tuple[torch.Tensor, RegulationReport]:
    regulator = Regulator(bundle(profile, threshold), profile=profile)
    with regulator.attach(pipe) as attachment:
        latents = draw(pipe, profile, **more)
    return latents, attachment.last


def threshold_between(pipe: ToyPipeline, profile: ModelProfile, **more: Any) -> float:
    """A threshold that the highest-scoring picture reaches and the others do not."""
    report = regulated(pipe, profile, 1e9, **more)[1]
    scores = sorted(findings[0].score for findings in report.images)
    return (scores[-1] + scores[-2]) / 2


@pytest.mark.parametrize("more", [{}, CFG])
@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_output_is_bit_identical_when_nothing_fires(pipe, profile, more):
    stock = draw(pipe, profile, **more)
    latents, report = regulated(pipe, profile, 1e9, **more)
    assert torch.equal(stock, latents)
    assert (report.looked, report.fired, len(report.images)) == (True, False, 3)


@pytest.mark.parametrize("more", [{}, CFG])
@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_only_the_picture_that_fired_changes(pipe, profile, more):
    stock = draw(pipe, profile, **more)
    latents, report = regulated(pipe, profile, threshold_between(pipe, profile, **more), **more)
    fired = [bool(report.fired_in(index)) for index in range(3)]
    same = [torch.equal(a, b) for a, b in zip(stock, latents, strict=True)]
    assert sum(fired) == 1
    assert same == [not hit for hit in fired]
    assert (report.rewound, report.notes) == (True, [])


@pytest.mark.parametrize("more", [{}, CFG])
@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_rewind_equals_regulation_from_the_first_step(pipe, profile, more):
    """All patches fire, so a look at the first step and a rewound one must draw the same."""
    early, _ = regulated(pipe, replace(profile, sigma=1.0), -1e9, **more)
    late, report = regulated(pipe, profile, -1e9, **more)
    assert report.rewound
    assert report.images[0][0].step > 0
    assert (late - draw(pipe, profile, **more)).abs().max() > 0.05
    torch.testing.assert_close(early, late, atol=1e-4, rtol=1e-4)


def test_true_cfg_in_one_call_looks_at_the_pass_that_has_the_prompt(pipe):
    """At the first step both kinds of call see the same latents, so they find the same."""
    profile = replace(T2I, sigma=1.0)
    alone, guided = (regulated(pipe, profile, 1e9, **more)[1] for more in ({}, CFG))
    scores = [[findings[0].score for findings in report.images] for report in (alone, guided)]
    assert scores[0] == pytest.approx(scores[1], rel=1e-4)


def test_the_transformer_is_left_as_it_was_found(pipe):
    with Regulator(bundle(T2I, 1e9)).attach(pipe) as attachment:
        cores = [layer.core for layer in pipe.transformer.layers]
        assert all(isinstance(core, RegulatedToyAttention) for core in cores)
    assert attachment.profile is T2I
    assert [layer.core for layer in pipe.transformer.layers] == 3 * [plain_attention]
    assert not pipe.transformer._forward_hooks
    assert not pipe.transformer._forward_pre_hooks
    assert fits(pipe)(bundle(T2I, 1e9)) is not None


class TwoTasksFamily(ToyFamily):
    name = "toy of two tasks"

    def profiles(self, pipe: Any) -> list[ModelProfile]:
        return [T2I, EDIT]

    def task(self, layout: TokenLayout) -> str:
        return "edit" if layout.references else "t2i"


@pytest.fixture
def two_tasks(pipe: ToyPipeline) -> ToyPipeline:
    register_family(TwoTasksFamily())
    return pipe


def test_a_pipeline_of_two_tasks_takes_profile_and_variant_of_each_call(two_tasks):
    variants = (*bundle(T2I, -1e9).variants, *bundle(EDIT, -1e9).variants)
    both = replace(bundle(T2I, -1e9), variants=variants, digest="")
    alone = {each.task: regulated(two_tasks, each, -1e9)[0] for each in (T2I, EDIT)}
    with Regulator(both).attach(two_tasks) as attachment:
        for profile in (EDIT, T2I, EDIT):
            assert torch.equal(draw(two_tasks, profile), alone[profile.task])
            assert attachment.profile is profile
            assert attachment.variant.space.task == profile.task
    assert [report.profile for report in attachment.reports] == ["toy-edit", "toy-t2i", "toy-edit"]


def test_a_call_for_a_task_without_anchors_is_refused_before_its_first_step(two_tasks):
    steps: list[int] = []
    with Regulator(bundle(EDIT, -1e9)).attach(two_tasks) as attachment:
        draw(two_tasks, EDIT)
        two_tasks.scheduler.step = lambda *args, **more: steps.append(1)
        with pytest.raises(MismatchError, match="no anchors for model 'toy', task 't2i'; it"):
            draw(two_tasks, T2I)
    assert (steps, len(attachment.reports)) == ([], 1)


def test_a_bundle_without_anchors_for_any_task_is_refused_at_once(two_tasks):
    other = bundle(replace(T2I, model="other"), -1e9)
    with pytest.raises(MismatchError, match="no anchors"), Regulator(other).attach(two_tasks):
        pytest.fail("a picture could have been drawn")
    with pytest.raises(MismatchError, match="no anchors"):
        fits(two_tasks)(other)


def test_a_call_for_another_task_than_that_of_the_profile_to_use_is_refused(two_tasks):
    with (
        Regulator(bundle(T2I, -1e9), profile=T2I).attach(two_tasks),
        pytest.raises(MismatchError, match=r"task is 'edit'.*'toy-t2i', is for 't2i'"),
    ):
        draw(two_tasks, EDIT)


def scenes(count: int, *, shown: bool) -> list[Sample]:
    mask = np.zeros((24, 32), dtype=bool)
    mask[:12, :8] = shown
    samples = []
    for seed in range(count):
        pixels = np.asarray(picture(seed)) // 3
        pixels[mask] = (255, 60, 0)
        samples.append(Sample(Image.fromarray(pixels), mask if shown else None, "a red cup"))
    return samples


@pytest.mark.parametrize("profile", [T2I, EDIT])
def test_anchors_are_collected_from_pictures(pipe, profile):
    anchors = collect_from_images(pipe, profile, scenes(2, shown=True), scenes(6, shown=False))
    patches = (12 // PATCH) * (8 // PATCH)
    assert anchors.anchors.shape == (2 * patches, len(profile.taps) * WIDTH)
    assert fit_scorer(anchors).weights.shape == (1, len(profile.taps) * WIDTH)


def test_anchors_are_collected_along_generations(pipe, ball):
    anchors = collect_from_prompts(pipe, T2I, ball, seed=2, capturing=Capturing(4))
    assert anchors.space.model == "toy"
    assert anchors.anchors.shape[1] == 2 * WIDTH
