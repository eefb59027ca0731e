"""Where weights and numbers are kept: offload, casting, autocast, attention backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from packaging.version import Version

from concepts.errors import UVRError
from tests.uvr.conftest import call_pipe
from tests.uvr.engine.conftest import firing
from tests.uvr.everywhere.weights import for_weights_of
from uvr.engine.regulator import Regulator

CPU = torch.device("cpu")


def group(pipe: Any, **more: Any) -> None:
    if Version(diffusers.__version__) < Version("0.41") and not torch.cuda.is_available():
        pytest.skip("this release of diffusers offloads from a GPU only")
    pipe.transformer.enable_group_offload(CPU, CPU, **more)


def model_offload(pipe: Any) -> None:
    pytest.importorskip("accelerate")
    pipe.enable_model_cpu_offload(device="cpu")


PLACES: dict[str, Callable[[Any], None]] = {
    "group offload by layers": lambda pipe: group(pipe, offload_type="leaf_level"),
    "group offload by blocks": lambda pipe: group(
        pipe, offload_type="block_level", num_blocks_per_group=1
    ),
    "model offload": model_offload,
    "layerwise casting": lambda pipe: pipe.transformer.enable_layerwise_casting(
        torch.float8_e4m3fn, torch.float32
    ),
    "half precision": lambda pipe: pipe.to(torch.bfloat16),
    "slices of the decoder": lambda pipe: pipe.vae.enable_slicing(),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_place_for_weights_leaves_stock_bits_and_regulates(t2i_pipe, t2i_profile, silent, name):
    PLACES[name](t2i_pipe)
    stock = call_pipe(t2i_pipe, "a cup", [1])
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    bundle = for_weights_of(t2i_pipe, t2i_profile)
    with Regulator(bundle, profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert not torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))
    assert attachment.last.rewound
    assert torch.equal(stock, call_pipe(t2i_pipe, "a cup", [1]))


def test_weights_on_a_disk_match_only_a_bundle_for_any_weights(t2i_pipe, t2i_profile, tmp_path):
    bundle = for_weights_of(t2i_pipe, t2i_profile)
    group(t2i_pipe, offload_type="leaf_level", offload_to_disk_path=str(tmp_path))
    with (
        pytest.raises(UVRError, match="on the disk, as group offload with a path leaves them"),
        Regulator(bundle, profile=t2i_profile).attach(t2i_pipe),
    ):
        pass
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        call_pipe(t2i_pipe, "a cup", [1])
    assert attachment.last.rewound


# Of the stock model: its norms get both types.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_autocast_is_regulated(t2i_pipe, t2i_profile, silent):
    def draw() -> torch.Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return call_pipe(t2i_pipe, "a cup", [1])

    stock = draw()
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        assert torch.equal(stock, draw())
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe) as attachment:
        assert not torch.equal(stock, draw())
    assert attachment.last.rewound


@pytest.mark.parametrize("backend", ["native", "_native_math"])
def test_an_attention_backend_may_be_set_at_any_time_and_is_kept(t2i_pipe, t2i_profile, backend):
    def backends() -> set[Any]:
        processors = t2i_pipe.transformer.attn_processors.values()
        return {processor._attention_backend for processor in processors}

    regulator = Regulator(firing(t2i_profile), profile=t2i_profile)
    with regulator.attach(t2i_pipe):
        t2i_pipe.transformer.set_attention_backend(backend)
        while_attached = call_pipe(t2i_pipe, "a cup", [1])
    assert backends() == {backend}
    with regulator.attach(t2i_pipe):
        assert torch.equal(while_attached, call_pipe(t2i_pipe, "a cup", [1]))
        t2i_pipe.transformer.set_attention_backend("native")  # It is a default for all models too.
        t2i_pipe.transformer.reset_attention_backend()
    assert backends() == {None}
