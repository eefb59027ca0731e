"""What FLUX does its own way, against the stock pipelines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxPipeline
from PIL import Image

from tests.uvr.conftest import make_pipe
from uvr.families.flux import FluxFamily
from uvr.families.flux_pictures import image_ids, noised_call, pack_latents
from uvr.profiles import PROFILES
from uvr.sample import DRAWN, Sample

SOURCE = Image.new("RGB", (40, 24), "red")


def test_usual_sigmas_are_those_of_a_call(t2i_pipe, t2i_profile):
    t2i_pipe.scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    t2i_pipe("a cup", output_type="latent", **t2i_profile.call)
    assert FluxFamily().sigmas(t2i_pipe, t2i_profile) == t2i_pipe.scheduler.sigmas.tolist()[:-1]


@pytest.mark.parametrize("cls", [FluxPipeline, FluxKontextPipeline])
def test_noised_call_passes_what_the_pipeline_passes(cls, t2i_profile, edit_profile):
    pipe = make_pipe(cls, guidance=True)
    profile = t2i_profile if cls is FluxPipeline else edit_profile
    seen: list[dict[str, Any]] = []
    hook = pipe.transformer.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs), with_kwargs=True
    )
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    sample = Sample(Image.fromarray(pixels), None, "a cup")
    more = {**profile.call, "output_type": "latent", "guidance_scale": 3.5}
    if cls is FluxKontextPipeline:
        more["image"] = sample.image
    pipe(prompt=sample.prompt, **more)
    hook.remove()
    mine = noised_call(pipe, profile, [sample], 0.5, torch.Generator().manual_seed(0))
    theirs = seen[0]
    assert mine["hidden_states"].shape == theirs["hidden_states"].shape
    if cls is FluxKontextPipeline:
        torch.testing.assert_close(mine["hidden_states"][:, 64:], theirs["hidden_states"][:, 64:])
    for name in ("guidance", "pooled_projections", "encoder_hidden_states", "txt_ids", "img_ids"):
        torch.testing.assert_close(mine[name], theirs[name])


def test_the_source_of_a_sample_is_its_reference_by_default_the_picture(edit_pipe, edit_profile):
    rng = np.random.default_rng(0)
    picture, source = (
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(2)
    )
    samples = [Sample(picture, source=source), Sample(source), Sample(picture)]
    call = noised_call(edit_pipe, edit_profile, samples, 0.0, torch.Generator().manual_seed(0))
    edited, own, other = call["hidden_states"]
    outputs = len(own) // 2
    assert torch.equal(edited[:outputs], other[:outputs])
    assert torch.equal(edited[outputs:], own[outputs:])
    for alone in (own, other):
        assert torch.equal(alone[:outputs], alone[outputs:])


def test_what_is_drawn_without_a_picture_has_no_reference(edit_pipe, edit_profile):
    sample = Sample(Image.new("RGB", (32, 32)), prompt="a cup", kind=DRAWN)
    call = noised_call(edit_pipe, edit_profile, [sample], 0.5, torch.Generator().manual_seed(0))
    outputs = call["hidden_states"].shape[1]
    assert FluxFamily().layout(call).references == ()
    assert FluxFamily().layout(call).num_output == outputs == len(call["img_ids"])


def test_packing_is_that_of_the_pipelines():
    latents = torch.arange(2 * 4 * 6 * 8.0).reshape(2, 4, 6, 8)
    assert torch.equal(pack_latents(latents), FluxPipeline._pack_latents(latents, 2, 4, 6, 8))
    theirs = FluxPipeline._prepare_latent_image_ids(1, 3, 4, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(3, 4), theirs)


def test_the_source_of_an_edit_is_resized_where_the_model_does_not_do_it(
    edit_profile,
):
    request = {"image": SOURCE, "height": 48, "width": 32}
    arguments = FluxFamily().call_arguments(edit_profile, request)
    assert (arguments["image"].size, arguments["max_area"]) == ((32, 48), 48 * 32)
    kontext = FluxFamily().call_arguments(PROFILES["flux.1-kontext-dev"], request)
    assert kontext["image"] is SOURCE
    assert kontext["max_area"] == 48 * 32
    assert (
        FluxFamily().call_arguments(edit_profile, {**request, "max_area": 1024})["max_area"] == 1024
    )
