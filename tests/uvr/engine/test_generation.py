"""One generation: its steps before the look are run again, and it shares nothing with another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from concepts.bundle import Bundle
from tests.uvr.conftest import STEPS, bundle_of, call_pipe, make_scorer, random_weights
from tests.uvr.engine.conftest import firing
from uvr.engine.regulator import Regulator
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.profiles import ModelProfile


def firing_at_three_patches(
    pipe: Any, profile: ModelProfile, prompt: str, seed: int, **more: Any
) -> Bundle:
    """A bundle whose threshold lies between the third and the fourth score of one picture."""
    with Regulator(firing(profile, 1e9), profile=profile).attach(pipe) as attachment:
        call_pipe(pipe, prompt, [seed], **more)
    scores = attachment.last.images[0][0].scores
    return firing(profile, float(np.sort(scores, axis=None)[-4:-2].mean()))


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
    step, each = attachment.last.images[0][0].step, 2 if guidance else 1
    assert step > 0
    # With true CFG only the first pass of the look step runs twice.
    passes = (attachment.last.passes, attachment.last.extra_passes)
    assert passes == (STEPS * each, step * each + 1)
    stock = call_pipe(t2i_pipe, "a red cup", [5], **guidance)
    assert (results[0] - stock).abs().max() > 0.05
    torch.testing.assert_close(results[0], results[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("guidance", [{}, {"negative_prompt": "red", "true_cfg_scale": 2.5}])
def test_the_rest_of_a_fired_picture_stays_closer_to_stock_when_it_is_kept(
    t2i_pipe, t2i_profile, guidance
):
    bundle = firing_at_three_patches(t2i_pipe, t2i_profile, "a red cup", 5, **guidance)
    stock = call_pipe(t2i_pipe, "a red cup", [5], **guidance)
    distances = []
    for ring in (None, 0):
        profile = replace(t2i_profile, restrict=RestrictPreset(keep_ring=ring))
        with Regulator(bundle, profile=profile).attach(t2i_pipe) as attachment:
            regulated = call_pipe(t2i_pipe, "a red cup", [5], **guidance)
        assert attachment.last.rewound
        mask = torch.from_numpy(attachment.last.images[0][0].mask.ravel())
        assert int(mask.sum()) == 3
        change = (regulated - stock)[0].norm(dim=-1)
        assert change[mask].min() > 0
        distances.append(float(change[~mask].norm()))
    assert distances[1] < 0.8 * distances[0]


def test_keeping_changes_nothing_where_the_whole_picture_is_masked(t2i_pipe, t2i_profile):
    results = []
    for ring in (None, 1):
        profile = replace(t2i_profile, restrict=RestrictPreset(keep_ring=ring))
        with Regulator(firing(profile), profile=profile).attach(t2i_pipe):
            results.append(call_pipe(t2i_pipe, "a red cup", [5]))
    assert torch.equal(*results)


def test_what_is_kept_does_not_depend_on_the_batch(t2i_pipe, t2i_profile):
    profile = replace(t2i_profile, restrict=RestrictPreset(keep_ring=0))
    bundle = firing_at_three_patches(t2i_pipe, profile, "a blue ball", 8)
    with Regulator(bundle, profile=profile).attach(t2i_pipe):
        alone = call_pipe(t2i_pipe, ["a blue ball"], [8])
        together = call_pipe(t2i_pipe, ["a red cup", "a blue ball"], [7, 8])
    torch.testing.assert_close(alone[0], together[1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("paper", [False, True])
def test_regulation_does_not_depend_on_the_batch(t2i_pipe, t2i_profile, paper):
    profile = t2i_profile.with_preset("paper") if paper else t2i_profile
    with Regulator(firing(t2i_profile), profile=profile).attach(t2i_pipe):
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


def test_modulation_without_references_is_a_plain_boost(t2i_pipe, t2i_profile):
    profile = replace(t2i_profile, restrict=None, modulate=ModulatePreset(boost=1.0))
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(firing(profile), profile=profile).attach(t2i_pipe):
        regulated = call_pipe(t2i_pipe, "a cup", [1])
    torch.testing.assert_close(stock, regulated, atol=1e-4, rtol=1e-4)
