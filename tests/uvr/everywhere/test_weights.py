"""Weights that change: adapters, quantisation, fused projections. A bundle may name its weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from concepts.errors import MismatchError
from tests.uvr.conftest import call_pipe, make_pipe
from tests.uvr.engine.conftest import firing
from tests.uvr.everywhere.weights import for_weights_of
from uvr.engine.regulator import Regulator

TARGETS = ["attn.to_q", "attn.to_v", "attn.add_k_proj"]


def add_lora(pipe: Any, name: str = "style", seed: int = 0) -> None:
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=TARGETS)
    torch.manual_seed(seed)
    pipe.transformer.add_adapter(config, adapter_name=name)


@contextmanager
def refused() -> Iterator[None]:
    with pytest.raises(MismatchError, match="revision"):
        yield


def test_a_lora_loaded_while_attached_counts_as_other_weights(t2i_pipe, t2i_profile):
    bundle = for_weights_of(t2i_pipe, t2i_profile)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe):
        before = call_pipe(t2i_pipe, "a cup", [1])
        add_lora(t2i_pipe)
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])
        t2i_pipe.transformer.unload_lora()
        assert torch.equal(before, call_pipe(t2i_pipe, "a cup", [1]))


def test_a_lora_counts_on_a_model_that_declares_its_revision(t2i_pipe, t2i_profile):
    t2i_pipe.transformer.register_to_config(_uvr_revision="a1")
    bundle = for_weights_of(t2i_pipe, t2i_profile)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe):
        call_pipe(t2i_pipe, "a cup", [1])
        add_lora(t2i_pipe)
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])
        t2i_pipe.transformer.unload_lora()
        call_pipe(t2i_pipe, "a cup", [1])


def test_a_lora_is_regulated_with_a_bundle_for_it_or_for_any_weights(t2i_pipe, t2i_profile, silent):
    any_weights = firing(t2i_profile)
    with Regulator(any_weights, profile=t2i_profile).attach(t2i_pipe):
        before = call_pipe(t2i_pipe, "a cup", [1])
        add_lora(t2i_pipe)
        during = call_pipe(t2i_pipe, "a cup", [1])
    stock = call_pipe(t2i_pipe, "a cup", [1])
    bundle = for_weights_of(t2i_pipe, t2i_profile)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(during, call_pipe(t2i_pipe, "a cup", [1]))
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    for other in (before, stock):
        assert not torch.equal(during, other)


def test_the_strength_of_a_lora_counts(t2i_pipe, t2i_profile):
    add_lora(t2i_pipe)
    transformer = t2i_pipe.transformer
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        full = call_pipe(t2i_pipe, "a cup", [1])
        transformer.set_adapters("style", 0.5)
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])
        transformer.set_adapters("style", 1.0)
        assert torch.equal(full, call_pipe(t2i_pipe, "a cup", [1]))
        transformer.disable_lora()
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])


def test_a_scale_in_a_call_counts(t2i_pipe, t2i_profile):
    add_lora(t2i_pipe)
    half = {"joint_attention_kwargs": {"scale": 0.5}}
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        call_pipe(t2i_pipe, "a cup", [1], joint_attention_kwargs={"scale": 1.0})
        with pytest.raises(MismatchError, match=r"scales LoRA by 0.5 in this call"):
            call_pipe(t2i_pipe, "a cup", [1], **half)
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1], **half)
    assert attachment.last.fired


def test_a_fused_lora_counts_as_other_weights(t2i_pipe, t2i_profile):
    add_lora(t2i_pipe)
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        t2i_pipe.transformer.fuse_lora()
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(
        t2i_pipe
    ) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.fired


def test_a_lora_swapped_in_place_counts_as_other_weights(t2i_pipe, t2i_profile):
    other = make_pipe()
    add_lora(t2i_pipe)
    add_lora(other, seed=1)
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        call_pipe(t2i_pipe, "a cup", [1])
        t2i_pipe.transformer.load_state_dict(other.transformer.state_dict())
        with refused():
            call_pipe(t2i_pipe, "a cup", [1])


def test_projections_may_be_fused_before_or_while_attached(t2i_pipe, t2i_profile):
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        apart = call_pipe(t2i_pipe, "a cup", [1])
        t2i_pipe.transformer.fuse_qkv_projections()
        fused = call_pipe(t2i_pipe, "a cup", [1])
        t2i_pipe.transformer.unfuse_qkv_projections()
        assert torch.equal(apart, call_pipe(t2i_pipe, "a cup", [1]))
    torch.testing.assert_close(apart, fused, atol=1e-4, rtol=1e-4)


def torchao(transformer: Any) -> None:
    quantization = pytest.importorskip("torchao.quantization")
    quantization.quantize_(transformer, quantization.Int8WeightOnlyConfig())


def quanto(transformer: Any) -> None:
    library = pytest.importorskip("optimum.quanto")
    library.quantize(transformer, weights=library.qint8)
    library.freeze(transformer)


def bitsandbytes(transformer: Any) -> None:
    library = pytest.importorskip("bitsandbytes")
    for name, module in list(transformer.named_modules()):
        if isinstance(module, nn.Linear) and "attn" in name:
            size = (module.in_features, module.out_features, module.bias is not None)
            quantised = library.nn.Linear8bitLt(*size, has_fp16_weights=False)
            quantised.load_state_dict(module.state_dict())
            transformer.set_submodule(name, quantised.to("cpu"))


@pytest.mark.filterwarnings("ignore")  # These libraries have their own.
@pytest.mark.parametrize("quantise", [torchao, quanto, bitsandbytes])
def test_quantised_weights_are_regulated_and_count_as_other_weights(
    t2i_pipe, t2i_profile, silent, quantise
):
    before = for_weights_of(t2i_pipe, t2i_profile)
    quantise(t2i_pipe.transformer)
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with refused(), Regulator(before, profile=t2i_profile).attach(t2i_pipe):
        pass
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    with Regulator(for_weights_of(t2i_pipe, t2i_profile), profile=t2i_profile).attach(
        t2i_pipe
    ) as attachment:
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    assert attachment.last.rewound
