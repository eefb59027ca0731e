"""Attach, look, rewind, regulate and detach, on tiny random FLUX pipelines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxKontextPipeline
from PIL import Image

from concepts.bundle import (
    Bundle,
    lock_digest,
    locked_members,
    read_bundle,
    write_bundle,
)
from concepts.errors import ExpiredError, MismatchError, NotFoundError, UVRError
from concepts.scorer import Scorer
from tests.uvr.conftest import bundle_of, call_pipe, make_pipe, make_scorer, random_weights
from uvr.delivery.source import BundleSource
from uvr.engine.attachment import KEPT_REPORTS
from uvr.engine.regulator import Regulator, fits
from uvr.families.attention import RegulatedAttention
from uvr.method.presets import ModulatePreset
from uvr.profiles import ModelProfile
from uvr.revision import weights_revision

PAST = "2020-01-01T00:00:00.000000Z"
Silent = Callable[[ModelProfile], Bundle]


def firing(profile: ModelProfile, threshold: float = -1e9) -> Bundle:
    return bundle_of(profile, {"ball": make_scorer(random_weights(profile), threshold)})


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


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


@pytest.mark.parametrize("guidance", [{}, {"negative_prompt": "red", "true_cfg_scale": 2.5}])
def test_rewind_equals_regulation_from_the_first_step(t2i_pipe, t2i_profile, guidance):
    """All patches fire, so a look at the first step and a rewound one must draw the same."""
    early = replace(t2i_profile, sigma=1.0)
    results = []
    for profile in (early, t2i_profile):
        with Regulator(firing(profile), profile=profile).attach(t2i_pipe) as attachment:
            results.append(call_pipe(t2i_pipe, "a red cup", [5], **guidance))
        assert attachment.last.notes == []
    assert attachment.last.rewound
    assert attachment.last.images[0][0].step > 0
    stock = call_pipe(t2i_pipe, "a red cup", [5], **guidance)
    assert (results[0] - stock).abs().max() > 0.05
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


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


def test_regulation_does_not_depend_on_the_batch(t2i_pipe, t2i_profile):
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        alone = call_pipe(t2i_pipe, ["a blue ball"], [8])
        together = call_pipe(t2i_pipe, ["a red cup", "a blue ball"], [7, 8])
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)


def test_the_callers_generator_is_left_where_stock_leaves_it(t2i_pipe, t2i_profile):
    stock, regulated = (torch.Generator().manual_seed(3) for _ in range(2))
    arguments = {"height": 32, "width": 32, "num_inference_steps": 3, "output_type": "latent"}
    t2i_pipe("a cup", generator=stock, **arguments)
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        t2i_pipe("a cup", generator=regulated, **arguments)
    assert torch.equal(stock.get_state(), regulated.get_state())


@pytest.mark.parametrize("steps", [5, 28])
@pytest.mark.parametrize("guidance", [{}, {"negative_prompt": "red", "true_cfg_scale": 4.0}])
def test_half_precision_is_rewound_too(t2i_pipe, t2i_profile, steps, guidance):
    t2i_pipe.to(torch.bfloat16)
    more = {**guidance, "num_inference_steps": steps}
    early = replace(t2i_profile, sigma=1.0)
    results = []
    for profile in (early, t2i_profile):
        with Regulator(firing(profile), profile=profile).attach(t2i_pipe) as attachment:
            results.append(call_pipe(t2i_pipe, "a red cup", [5], **more).float())
    assert attachment.last.notes == []
    assert attachment.last.rewound
    stock = call_pipe(t2i_pipe, "a red cup", [5], **more).float()
    error, effect = (part.norm() for part in (results[0] - results[1], results[0] - stock))
    assert error < 0.1 * effect


@pytest.mark.parametrize(("dtype", "factor"), [(torch.float32, 0.999), (torch.bfloat16, 0.98)])
def test_latents_changed_between_steps_are_not_rewound(t2i_pipe, t2i_profile, dtype, factor):
    t2i_pipe.to(dtype)

    def blend(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        return {"latents": values["latents"] * factor}

    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a red cup", [1], callback_on_step_end=blend)
    assert attachment.last.fired
    assert not attachment.last.rewound
    assert "plain Euler" in attachment.last.notes[0]


def test_a_start_below_the_look_still_localises(t2i_pipe, t2i_profile):
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        changed = call_pipe(t2i_pipe, "a cup", [1], sigmas=[0.25, 0.2, 0.1], num_inference_steps=3)
    stock = call_pipe(t2i_pipe, "a cup", [1], sigmas=[0.25, 0.2, 0.1], num_inference_steps=3)
    assert attachment.last.images[0][0].step == 0
    assert not torch.equal(changed, stock)


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


def test_a_call_after_a_failed_call_starts_afresh(t2i_pipe, t2i_profile):
    def fail(*args: Any) -> dict[str, Any]:
        raise RuntimeError("stop here")

    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        first = call_pipe(t2i_pipe, "a red cup", [1])
        with pytest.raises(RuntimeError, match="stop here"):
            call_pipe(t2i_pipe, "a red cup", [1], callback_on_step_end=fail)
        again = call_pipe(t2i_pipe, "a red cup", [1])
    assert torch.equal(first, again)
    assert [report.looked for report in attachment.reports] == [True, False, True]


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


def test_a_bundle_for_other_taps_or_models_is_refused_before_any_picture(t2i_pipe, t2i_profile):
    bundle = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 0)})
    (variant,) = bundle.variants
    deep = replace(variant.space, taps=("single_transformer_blocks.9",))
    narrow = replace(variant.space, taps=t2i_profile.taps[:1])
    for space, message in ((deep, "no attention layer"), (narrow, "dimensions")):
        wrong = replace(bundle, variants=(replace(variant, space=space),), digest="")
        with (
            pytest.raises(MismatchError, match=message),
            Regulator(wrong, profile=t2i_profile).attach(t2i_pipe),
        ):
            pass
    with pytest.raises(MismatchError), Regulator(bundle).attach(t2i_pipe):
        pass


def for_revision(profile: ModelProfile, revision: str) -> Bundle:
    bundle = firing(profile)
    (variant,) = bundle.variants
    space = replace(variant.space, revision=revision)
    return replace(bundle, variants=(replace(variant, space=space),), digest="")


def test_a_bundle_for_other_weights_is_refused_before_any_picture(t2i_pipe, t2i_profile):
    other = for_revision(t2i_profile, weights_revision(make_pipe(seed=4).transformer))
    processors = t2i_pipe.transformer.attn_processors
    with (
        pytest.raises(MismatchError, match="revision"),
        Regulator(other, profile=t2i_profile).attach(t2i_pipe),
    ):
        pytest.fail("a picture could have been drawn")
    assert t2i_pipe.transformer.attn_processors == processors
    same = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    with Regulator(same, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.fired


def test_weights_changed_while_attached_are_refused_before_any_picture(t2i_pipe, t2i_profile):
    bundle = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    weight = t2i_pipe.transformer.single_transformer_blocks[0].attn.to_v.weight
    original, drawn = weight.detach().clone(), []

    def count(*args: Any) -> dict[str, Any]:
        drawn.append(args)
        return {}

    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        before = call_pipe(t2i_pipe, "a cup", [1])
        with torch.no_grad():
            weight.mul_(1.5)
        with pytest.raises(MismatchError, match="revision"):
            call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=count)
        with torch.no_grad():
            weight.copy_(original)
        assert torch.equal(before, call_pipe(t2i_pipe, "a cup", [1]))
    assert drawn == []
    assert len(attachment.reports) == 2


def test_each_call_takes_the_variant_of_the_weights_of_its_time(t2i_pipe, t2i_profile):
    weight = t2i_pipe.transformer.single_transformer_blocks[0].attn.to_v.weight
    revisions = []
    for _ in range(2):
        revisions.append(weights_revision(t2i_pipe.transformer))
        with torch.no_grad():
            weight.mul_(1.5)
    with torch.no_grad():
        weight.mul_(1.5**-2)
    assert weights_revision(t2i_pipe.transformer) == revisions[0]
    variants = tuple(for_revision(t2i_profile, each).variants[0] for each in revisions)
    bundle = replace(firing(t2i_profile), variants=variants, digest="")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
        with torch.no_grad():
            weight.mul_(1.5)
        call_pipe(t2i_pipe, "a cup", [1])
    spaces = [report.space for report in attachment.reports]
    assert spaces == [variant.space.digest for variant in variants]


def test_another_transformer_put_into_an_attached_pipeline_is_refused(
    t2i_pipe, t2i_profile, silent
):
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        t2i_pipe.transformer = make_pipe(seed=4).transformer
        with pytest.raises(MismatchError, match="transformer was replaced"):
            call_pipe(t2i_pipe, "a cup", [1])


def test_weights_that_cannot_be_read_match_only_a_bundle_for_any_weights(t2i_pipe, t2i_profile):
    bundle = for_revision(t2i_profile, weights_revision(t2i_pipe.transformer))
    t2i_pipe.transformer.to("meta")
    with (
        pytest.raises(UVRError, match="sequential offload"),
        Regulator(bundle, profile=t2i_profile).attach(t2i_pipe),
    ):
        pytest.fail("a picture could have been drawn")
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        pass


def test_concepts_without_anchors_for_this_model_are_noted(t2i_pipe, t2i_profile, edit_profile):
    scorer = make_scorer(random_weights(t2i_profile), 1e9)
    more = bundle_of(edit_profile, dict.fromkeys(("star", "ball", "cup"), scorer))
    bundle = firing(t2i_profile)
    bundle = replace(bundle, variants=(*bundle.variants, *more.variants), digest="")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.notes == ["no anchors for this model and task: cup, star"]


def test_only_the_latest_reports_are_kept(t2i_pipe, t2i_profile, silent):
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        for _ in range(2):
            call_pipe(t2i_pipe, "a cup", [1], num_inference_steps=1)
        second = attachment.last
        for _ in range(KEPT_REPORTS - 1):
            call_pipe(t2i_pipe, "a cup", [1], num_inference_steps=1)
    assert len(attachment.reports) == KEPT_REPORTS
    assert attachment.reports[0] is second


def test_a_host_can_let_a_concept_through_and_the_report_says_so(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    regulator = Regulator(firing(t2i_profile), profile=t2i_profile, allow=["ball"])
    with regulator.attach(t2i_pipe) as attachment:
        allowed = call_pipe(t2i_pipe, "a cup", [1])
    finding = attachment.last.images[0][0]
    assert torch.equal(stock, allowed)
    assert (finding.fired, finding.enforced) == (True, False)
    assert attachment.last.notes == ["not regulated on this host: ball"]
    with pytest.raises(NotFoundError, match="'bal'"):
        Regulator(firing(t2i_profile), allow=["bal"])


def test_an_observed_concept_is_reported_and_enforced_only_on_demand(t2i_pipe, t2i_profile):
    bundle = firing(t2i_profile)
    (variant,) = bundle.variants
    watching = replace(variant, members=(replace(variant.members[0], mode="log"),))
    bundle = replace(bundle, variants=(watching,), digest="")
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        observed = call_pipe(t2i_pipe, "a cup", [1])
    assert torch.equal(stock, observed)
    assert attachment.last.fired_in(0) == ["ball"]
    with Regulator(bundle, profile=t2i_profile, deny=["ball"]).attach(t2i_pipe) as attachment:
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    assert attachment.last.notes == ["enforced on this host: ball"]


def test_several_concepts_are_regulated_together(t2i_pipe, t2i_profile):
    quiet = make_scorer(random_weights(t2i_profile, 5), 1e9)
    loud = make_scorer(random_weights(t2i_profile), -1e9)
    bundle = bundle_of(t2i_profile, {"ball": loud, "cup": quiet})
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        both = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(both, call_pipe(t2i_pipe, "a cup", [1]))
    findings = {finding.slug: finding.fired for finding in attachment.last.images[0]}
    assert findings == {"ball": True, "cup": False}


def test_a_diffusers_cache_is_refused(t2i_pipe, t2i_profile, silent):
    t2i_pipe.transformer._cache_config = object()
    with (
        Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        pytest.raises(UVRError, match="disable_cache"),
    ):
        call_pipe(t2i_pipe, "a cup", [1])


def test_modulation_without_references_is_a_plain_boost(t2i_pipe, t2i_profile):
    profile = replace(t2i_profile, restrict=None, modulate=ModulatePreset(boost=1.0))
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(firing(profile), profile=profile).attach(t2i_pipe):
        regulated = call_pipe(t2i_pipe, "a cup", [1])
    torch.testing.assert_close(stock, regulated, atol=1e-4, rtol=1e-4)


def test_fused_projections_are_regulated_too(t2i_pipe, t2i_profile, silent):
    t2i_pipe.transformer.fuse_qkv_projections()
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def with_member(bundle: Bundle, **changes: Any) -> Bundle:
    (variant,) = bundle.variants
    member = replace(variant.members[0], **changes)
    variants = (replace(variant, members=(member,)),)
    lock = lock_digest(locked_members(variants))
    return replace(bundle, variants=variants, lock_digest=lock, digest="")


def test_a_shadow_concept_is_measured_on_the_side(t2i_pipe, t2i_profile):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    bundle = with_member(firing(t2i_profile), mode="shadow")
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    report = attachment.last
    assert (report.fired, report.fired_in(0), report.images) == (False, [], [[]])
    ((finding,),) = report.shadow
    assert (finding.slug, finding.mode, finding.fired) == ("ball", "shadow", True)


@pytest.mark.parametrize(
    ("until", "regulated"), [("2999-01-01T00:00:00.000000Z", False), (PAST, True)]
)
def test_a_concept_disabled_for_a_time_is_only_reported(t2i_pipe, t2i_profile, until, regulated):
    stock = call_pipe(t2i_pipe, "a cup", [1])
    bundle = with_member(firing(t2i_profile), disabled_until=until)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1])) is not regulated
    finding = attachment.last.images[0][0]
    assert (finding.fired, finding.mode) == (True, "enforce" if regulated else "log")
    note = f"disabled until {until}, only reported: ball"
    assert attachment.last.notes == ([] if regulated else [note])
    with Regulator(bundle, profile=t2i_profile, deny=["ball"]).attach(t2i_pipe):
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def test_a_release_moves_thresholds(t2i_pipe, t2i_profile):
    bundle = with_member(firing(t2i_profile), threshold=1e9)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    finding = attachment.last.images[0][0]
    assert (finding.fired, finding.threshold) == (False, 1e9)


def test_half_precision_scorers_are_scored_in_single(t2i_pipe, t2i_profile):
    scores = []
    weights = random_weights(t2i_profile).astype(np.float16)[None]
    for dtype in (np.float16, np.float32):
        scorer = Scorer("whitened", weights.astype(dtype), np.zeros(1), -1e9, -1e9)
        written = write_bundle(locked(bundle_of(t2i_profile, {"ball": scorer})))
        with Regulator(read_bundle(written), profile=t2i_profile).attach(t2i_pipe) as attachment:
            call_pipe(t2i_pipe, "a cup", [1])
        scores.append(attachment.last.images[0][0])
    assert np.array_equal(scores[0].scores, scores[1].scores)
    assert scores[0].feature is not None
    strongest = weights.astype(np.float32) @ scores[0].feature.astype(np.float32)
    assert strongest[0] == pytest.approx(scores[0].score, rel=1e-2, abs=1e-2)


def locked(bundle: Bundle) -> Bundle:
    return replace(bundle, lock_digest=lock_digest(locked_members(bundle.variants)), digest="")


def test_an_empty_bundle_finds_nothing_and_says_so(t2i_pipe, t2i_profile):
    empty = replace(firing(t2i_profile), variants=(), digest="")
    stock = call_pipe(t2i_pipe, ["a cup", "a ball"], [1, 2])
    with Regulator(empty, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert torch.equal(stock, call_pipe(t2i_pipe, ["a cup", "a ball"], [1, 2]))
    report = attachment.last
    assert (report.looked, report.fired, report.images) == (True, False, [[], []])
    assert report.notes == ["the bundle holds no concepts: nothing was looked for"]


def test_each_call_takes_the_release_of_its_time_and_keeps_it(
    t2i_pipe, t2i_profile, silent, tmp_path
):
    offer = tmp_path / "offer.uvr"

    def publish(sequence: int, bundle: Bundle) -> None:
        released = replace(locked(bundle), name="policy", sequence=sequence, digest="")
        offer.write_bytes(write_bundle(released))

    quiet = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1e6)})
    publish(1, quiet)
    stock = call_pipe(t2i_pipe, "a cup", [1])
    options = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0}
    clock = ["2026-01-01T00:00:00.000000Z"]
    more = {"max_age": 60, "stale": "degraded", "clock": lambda: clock[0]}
    with BundleSource(offer, **options, **more) as source:
        regulator = Regulator(source, profile=t2i_profile)
        with regulator.attach(t2i_pipe) as attachment:

            def swap(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
                if step == 0:
                    publish(2, firing(t2i_profile))
                    assert source.refresh()
                return {}

            during = call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=swap)
            after = call_pipe(t2i_pipe, "a cup", [1])
            clock[0] = "2026-01-01T01:00:00.000000Z"
            call_pipe(t2i_pipe, "a cup", [1])
            publish(3, replace(firing(t2i_profile), variants=(), digest=""))
            source.refresh()
            emptied = call_pipe(t2i_pipe, "a cup", [1])
            other = replace(t2i_profile, model="other")
            publish(4, firing(other))
            source.refresh()
            with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
                call_pipe(t2i_pipe, "a cup", [1])
    assert [report.sequence for report in attachment.reports] == [1, 2, 2, 3]
    states = [report.bundle_state for report in attachment.reports]
    assert states == ["ok", "ok", "degraded", "ok"]
    assert "the bundle is degraded" in attachment.reports[2].notes[0]
    assert torch.equal(stock, during)
    assert not torch.equal(stock, after)
    assert torch.equal(stock, emptied)
    status = regulator.status().to_dict()
    assert (status["sequence"], status["source"]["state"]) == (4, "ok")


def test_a_release_that_does_not_fit_the_pipeline_is_not_taken(t2i_pipe, t2i_profile, tmp_path):
    offer, other = tmp_path / "offer.uvr", replace(t2i_profile, model="other")
    offer.write_bytes(write_bundle(replace(locked(firing(t2i_profile)), sequence=1, digest="")))
    check = fits(t2i_pipe, t2i_profile)
    state = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0}
    with BundleSource(offer, accept=check, **state) as source:
        offer.write_bytes(write_bundle(replace(locked(firing(other)), sequence=2, digest="")))
        with pytest.raises(MismatchError, match="no anchors for model 'tiny'"):
            source.refresh()
        with Regulator(source, profile=t2i_profile).attach(t2i_pipe) as attachment:
            call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.sequence == 1


def test_the_report_has_the_state_of_the_release_that_it_names(
    t2i_pipe, t2i_profile, tmp_path, monkeypatch
):
    """Another release comes in just after a generation has taken its own, which has expired."""
    offer, clock = tmp_path / "offer.uvr", ["2026-01-01T00:00:00.000000Z"]

    def publish(sequence: int, expires: str | None) -> None:
        quiet = bundle_of(t2i_profile, {"ball": make_scorer(random_weights(t2i_profile), 1e6)})
        released = replace(locked(quiet), sequence=sequence, expires=expires, digest="")
        offer.write_bytes(write_bundle(released))

    publish(1, "2026-01-02T00:00:00.000000Z")
    options = {"keys": None, "state": tmp_path / "state", "poll_seconds": 0, "stale": "degraded"}
    with BundleSource(offer, **options, clock=lambda: clock[0]) as source:
        regulator = Regulator(source, profile=t2i_profile)
        with regulator.attach(t2i_pipe) as attachment:
            clock[0] = "2026-01-03T00:00:00.000000Z"
            publish(2, None)
            log_staleness = source._log_staleness

            def log_and_swap(stale: str | None) -> None:
                log_staleness(stale)
                source.refresh()

            monkeypatch.setattr(source, "_log_staleness", log_and_swap)
            for _ in range(2):
                call_pipe(t2i_pipe, "a cup", [1])
    found = [(report.sequence, report.bundle_state) for report in attachment.reports]
    assert found == [(1, "degraded"), (2, "ok")]
    assert "it expired at 2026-01-02" in attachment.reports[0].notes[0]


def test_a_fixed_bundle_that_expires_serves_on_and_is_stale(
    t2i_pipe,
    t2i_profile,
    monkeypatch,
    caplog,
):
    expires, clock = "2026-01-02T00:00:00.000000Z", ["2026-01-01T00:00:00.000000Z"]
    monkeypatch.setattr("uvr.engine.regulator.now", lambda: clock[0])
    bundle = replace(firing(t2i_profile), expires=expires, digest="")
    regulator = Regulator(bundle, profile=t2i_profile)
    with regulator.attach(t2i_pipe) as attachment:
        fresh = call_pipe(t2i_pipe, "a cup", [1])
        clock[0] = expires
        for _ in range(2):
            assert torch.equal(fresh, call_pipe(t2i_pipe, "a cup", [1]))
    with regulator.attach(t2i_pipe):
        pass
    assert [report.bundle_state for report in attachment.reports] == ["ok", "stale", "stale"]
    why = f"it expired at {expires}"
    notes = [report.notes for report in attachment.reports]
    assert notes == [[], *2 * [[f"the bundle is stale: {why}"]]]
    assert caplog.messages == [f"the bundle 'test' is stale: {why}"]
    with pytest.raises(ExpiredError, match="Release 1 of 'test' cannot be used: it expired"):
        Regulator(bundle, profile=t2i_profile)


def test_overrides_of_a_host_are_logged_and_in_its_status(t2i_profile, caplog):
    with caplog.at_level("WARNING", "uvr.regulator"):
        status = Regulator(firing(t2i_profile), allow=["ball"]).status()
    assert caplog.messages == ["not regulated on this host: ball"]
    assert (status.bundle, status.allow, status.deny, status.source) == (
        "test",
        ("ball",),
        (),
        None,
    )
    with pytest.raises(ValueError, match="both name ball"):
        Regulator(firing(t2i_profile), allow=["ball"], deny=["ball"])
