"""Caches skip layers that must be regulated: each is refused by name, however it was applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from diffusers import hooks

from concepts.errors import MismatchError, UVRError
from tests.uvr.conftest import call_pipe
from tests.uvr.engine.conftest import firing
from uvr.engine.regulator import Regulator


def broadcast() -> Any:
    return hooks.PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2, current_timestep_callback=lambda: 500
    )


def faster() -> Any:
    return hooks.FasterCacheConfig(
        current_timestep_callback=lambda: 500, is_guidance_distilled=True, tensor_format="BCHW"
    )


CACHES: dict[str, tuple[Callable[[], Any], str]] = {
    "FasterCacheConfig": (faster, "apply_faster_cache"),
    "FirstBlockCacheConfig": (lambda: hooks.FirstBlockCacheConfig(), "apply_first_block_cache"),
    "MagCacheConfig": (
        lambda: hooks.MagCacheConfig(num_inference_steps=5, mag_ratios=[1.0] * 5),
        "apply_mag_cache",
    ),
    "PyramidAttentionBroadcastConfig": (broadcast, "apply_pyramid_attention_broadcast"),
    "SeaCacheConfig": (lambda: hooks.SeaCacheConfig(), "apply_sea_cache"),
    "TaylorSeerCacheConfig": (lambda: hooks.TaylorSeerCacheConfig(), "apply_taylorseer_cache"),
}


def test_every_cache_of_diffusers_for_flux_is_tried():
    offered = {name for name in dir(diffusers) if name.endswith("CacheConfig")}
    offered |= {name for name in dir(diffusers) if name.endswith("BroadcastConfig")}
    # Older releases lack some of ours.
    assert offered - {"TextKVCacheConfig"} <= set(CACHES)


@pytest.fixture(params=CACHES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a cache that this release of diffusers has."""
    if not hasattr(hooks, request.param):
        pytest.skip(f"this diffusers has no {request.param}")
    return str(request.param)


def test_a_cache_is_refused_by_its_name(t2i_pipe, t2i_profile, name):
    t2i_pipe.transformer.enable_cache(CACHES[name][0]())
    with (
        pytest.raises(MismatchError, match=rf"{name}: .*disable_cache\(\)"),
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
    ):
        pass


def test_a_cache_applied_by_its_function_is_refused(t2i_pipe, t2i_profile, name):
    config, apply = CACHES[name]
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        getattr(hooks, apply)(t2i_pipe.transformer, config())
        with pytest.raises(MismatchError, match=r"hooks that may skip layers, as caches do: [a-z]"):
            call_pipe(t2i_pipe, "a cup", [1])


def test_a_layer_that_is_skipped_in_a_call_stops_it(t2i_pipe, t2i_profile):
    def skip(pipe: Any, step: int, t: Any, values: dict[str, Any]) -> dict[str, Any]:
        block.forward = lambda hidden_states, encoder_hidden_states, **more: (
            encoder_hidden_states,
            hidden_states,
        )
        return {}

    block = t2i_pipe.transformer.single_transformer_blocks[1]
    with (
        Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe),
        pytest.raises(UVRError, match=r"1 of 3 attention layers .* single_transformer_blocks.1 on"),
    ):
        call_pipe(t2i_pipe, "a cup", [1], callback_on_step_end=skip)


def test_processors_exchanged_while_attached_stop_the_call(t2i_pipe, t2i_profile):
    stock = dict(t2i_pipe.transformer.attn_processors)
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        t2i_pipe.transformer.set_attn_processor(stock)
        with pytest.raises(UVRError, match="got another attention processor"):
            call_pipe(t2i_pipe, "a cup", [1])


def test_a_cache_that_was_disabled_leaves_nothing_to_refuse(t2i_pipe, t2i_profile):
    t2i_pipe.transformer.enable_cache(hooks.FirstBlockCacheConfig())
    t2i_pipe.transformer.disable_cache()
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
