"""An attachment changes what fired and nothing else, and leaves the pipeline as it found it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import FluxKontextPipeline

from concepts.errors import MismatchError, UVRError
from tests.uvr.conftest import STEPS, call_pipe, make_pipe
from tests.uvr.engine.conftest import firing, picture
from uvr.engine.attachment import KEPT_REPORTS
from uvr.engine.regulator import Regulator
from uvr.families.attention import RegulatedAttention
from uvr.profiles import ModelProfile


def threshold_between(pipe: Any, profile: ModelProfile, prompts: list[str], **more: Any) -> float:
    """A threshold that the highest-scoring sample of a batch reaches and the others do not."""
    with Regulator(firing(profile, 1e9), profile=profile).attach(pipe) as attachment:
        call_pipe(pipe, prompts, range(len(prompts)), **more)
    scores = sorted(findings[0].score for findings in attachment.last.images)
    assert scores[-1] > scores[-2]
    return (scores[-1] + scores[-2]) / 2


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"height": 48, "width": 32},
        {"max_sequence_length": 7},
        {"num_images_per_prompt": 2},
        {"negative_prompt": ["red", "blue"], "true_cfg_scale": 2.5},
    ],
)
def test_output_is_bit_identical_when_nothing_fires(t2i_pipe, t2i_profile, silent, more):
    prompts = ["a red cup", "a blue ball on the left"]
    seeds = range(2 * more.get("num_images_per_prompt", 1))
    stock = call_pipe(t2i_pipe, prompts, seeds, **more)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        regulated = call_pipe(t2i_pipe, prompts, seeds, **more)
    assert torch.equal(stock, regulated)
    assert attachment.last.looked
    assert not attachment.last.fired
    assert len(attachment.last.images) == len(seeds)


@pytest.mark.parametrize("more", [{}, {"height": 48, "width": 32, "max_area": 48 * 32}])
def test_edit_output_is_bit_identical_when_nothing_fires(edit_pipe, edit_profile, silent, more):
    arguments = {"image": picture(), "max_area": 32 * 32, "_auto_resize": False, **more}
    stock = call_pipe(edit_pipe, ["keep it", "make it red"], [1, 2], **arguments)
    with Regulator(silent(edit_profile), profile=edit_profile).attach(edit_pipe):
        regulated = call_pipe(edit_pipe, ["keep it", "make it red"], [1, 2], **arguments)
    assert torch.equal(stock, regulated)


def test_only_the_fired_sample_changes(t2i_pipe, t2i_profile):
    prompts = ["a red cup", "a blue ball", "a star on the right"]
    threshold = threshold_between(t2i_pipe, t2i_profile, prompts)
    stock = call_pipe(t2i_pipe, prompts, range(3))
    bundle = firing(t2i_profile, threshold)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        regulated = call_pipe(t2i_pipe, prompts, range(3))
    fired = [bool(attachment.last.fired_in(index)) for index in range(3)]
    same = [torch.equal(a, b) for a, b in zip(stock, regulated, strict=True)]
    assert sum(fired) == 1
    assert same == [not hit for hit in fired]


@pytest.mark.parametrize("both", [False, True])
def test_only_the_fired_edit_changes(edit_pipe, edit_profile, t2i_profile, both):
    profile = replace(edit_profile, restrict=t2i_profile.restrict if both else None)
    prompts = ["keep it", "make it red", "remove the ball"]
    more = {"image": picture(), "max_area": 32 * 32, "_auto_resize": False}
    threshold = threshold_between(edit_pipe, profile, prompts, **more)
    stock = call_pipe(edit_pipe, prompts, range(3), **more)
    with Regulator(firing(profile, threshold), profile=profile).attach(edit_pipe) as attachment:
        regulated = call_pipe(edit_pipe, prompts, range(3), **more)
    fired = [bool(attachment.last.fired_in(index)) for index in range(3)]
    same = [torch.equal(a, b) for a, b in zip(stock, regulated, strict=True)]
    assert sum(fired) == 1
    assert same == [not hit for hit in fired]


def test_pipeline_is_restored_after_an_exception(t2i_pipe, t2i_profile):
    processors = t2i_pipe.transformer.attn_processors
    stock = call_pipe(t2i_pipe, "a red cup", [1])

    def fail(*args: Any) -> dict[str, Any]:
        raise RuntimeError("stop here")

    with (
        pytest.raises(RuntimeError, match="stop here"),
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
    ):
        call_pipe(t2i_pipe, "a red cup", [1], callback_on_step_end=fail)
    assert t2i_pipe.transformer.attn_processors == processors
    assert "set_timesteps" not in vars(t2i_pipe.scheduler)
    assert not t2i_pipe.transformer._forward_hooks
    assert not t2i_pipe.transformer._forward_pre_hooks
    assert torch.equal(stock, call_pipe(t2i_pipe, "a red cup", [1]))


def test_two_pipelines_do_not_interfere(t2i_pipe, edit_pipe, t2i_profile, edit_profile):
    other = make_pipe(seed=4)
    stock = call_pipe(other, "a cup", [2])
    more = {"image": picture(), "max_area": 32 * 32, "_auto_resize": False}
    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as first,
        Regulator(firing(edit_profile), profile=edit_profile).attach(edit_pipe) as second,
    ):
        alone = call_pipe(t2i_pipe, "a red cup", [1])

        def interleave(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
            if step == 1:
                call_pipe(edit_pipe, "keep it", [1], **more)
            return {}

        mixed = call_pipe(t2i_pipe, "a red cup", [1], callback_on_step_end=interleave)
        assert torch.equal(stock, call_pipe(other, "a cup", [2]))
    assert torch.equal(alone, mixed)
    assert (len(first.reports), len(second.reports)) == (2, 1)


def test_scores_that_are_not_finite_raise_before_a_picture_is_returned(
    t2i_pipe, t2i_profile, silent
):
    with torch.no_grad():
        t2i_pipe.transformer.single_transformer_blocks[0].attn.to_v.weight[0, 0] = float("nan")
    with (
        Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        pytest.raises(UVRError, match="not finite"),
    ):
        call_pipe(t2i_pipe, "a red cup", [1])


def test_a_transformer_cannot_be_attached_twice(t2i_pipe, t2i_profile, silent):
    regulator = Regulator(silent(t2i_profile), profile=t2i_profile)
    with (
        regulator.attach(t2i_pipe),
        pytest.raises(MismatchError, match="already attached"),
        regulator.attach(t2i_pipe),
    ):
        pass
    processors = t2i_pipe.transformer.attn_processors.values()
    assert not any(isinstance(processor, RegulatedAttention) for processor in processors)


def test_a_call_of_another_pipeline_on_the_same_transformer_is_refused(
    t2i_pipe, t2i_profile, silent
):
    other = FluxKontextPipeline(
        **{**t2i_pipe.components, "scheduler": type(t2i_pipe.scheduler)()}
        | {"image_encoder": None, "feature_extractor": None}
    )
    other.set_progress_bar_config(disable=True)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        call_pipe(t2i_pipe, "a cup", [1])
        with pytest.raises(UVRError, match="outside of that pipeline's call"):
            call_pipe(other, "a cup", [1], max_area=32 * 32)


def test_only_the_latest_reports_are_kept(t2i_pipe, t2i_profile, silent):
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        for _ in range(2):
            call_pipe(t2i_pipe, "a cup", [1], num_inference_steps=1)
        second = attachment.last
        for _ in range(KEPT_REPORTS - 1):
            call_pipe(t2i_pipe, "a cup", [1], num_inference_steps=1)
    assert len(attachment.reports) == KEPT_REPORTS
    assert attachment.reports[0] is second


def test_fused_projections_are_regulated_too(t2i_pipe, t2i_profile, silent):
    t2i_pipe.transformer.fuse_qkv_projections()
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def test_a_call_far_from_what_anchors_were_collected_under_says_so(t2i_pipe, t2i_profile, caplog):
    conditions = [{"height": 32, "width": 32, "steps": STEPS, "text_length": 12}]
    bundle = firing(t2i_profile, 1e9)
    (variant,) = bundle.variants
    (member,) = variant.members
    scorer = replace(member.scorer, metadata={"conditions": conditions})
    variant = replace(variant, members=(replace(member, scorer=scorer),))
    bundle = replace(bundle, variants=(variant,), digest="")
    far = {"width": 64, "num_inference_steps": 2, "max_sequence_length": 5}
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
        for _ in range(2):
            call_pipe(t2i_pipe, "a cup", [1], **far)
    told = [
        "pictures of 64 x 32 pixels, anchors were collected at 32 x 32; less surely found: ball",
        "2 steps, anchors were collected with 5; less surely found: ball",
        "5 text tokens, anchors were collected with 12; less surely found: ball",
    ]
    assert [report.notes for report in attachment.reports] == [[], told, told]
    assert caplog.messages == told
