"""Compiled transformers, whole and by repeated blocks: one graph, without a break of ours.

The backend is the eager one: what is compiled for is the same, and takes seconds instead of
minutes. ``fullgraph=True`` makes any break in a graph an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from concepts.errors import MismatchError, UVRError
from tests.uvr.conftest import call_pipe, make_pipe
from tests.uvr.engine.conftest import firing
from tests.uvr.everywhere.weights import for_weights_of
from uvr.engine.regulator import Regulator
from uvr.method.presets import ModulatePreset

WHOLE = {"backend": "eager", "fullgraph": True}
SHORT = {"num_inference_steps": 3}


def in_place(pipe: Any) -> None:
    pipe.transformer.compile(**WHOLE)


def wrapped(pipe: Any) -> None:
    pipe.transformer = torch.compile(pipe.transformer, **WHOLE)


def by_blocks(pipe: Any) -> None:
    pipe.transformer.compile_repeated_blocks(**WHOLE)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No compiled code is left to the next test."""
    yield
    torch.compiler.reset()


@pytest.mark.parametrize("compile_it", [in_place, wrapped, by_blocks])
def test_a_compiled_transformer_is_stock_to_the_bit_or_regulated(t2i_profile, silent, compile_it):
    # More blocks than dynamo would compile for one by one.
    pipe = make_pipe(singles=10 if compile_it is by_blocks else 2)
    plain = for_weights_of(pipe, t2i_profile)
    with Regulator(plain, profile=t2i_profile).attach(pipe):
        not_compiled = call_pipe(pipe, "a cup", [1], **SHORT)
    compile_it(pipe)
    stock = call_pipe(pipe, "a cup", [1], **SHORT)
    with Regulator(silent(t2i_profile), profile=t2i_profile).attach(pipe):
        assert torch.equal(stock, call_pipe(pipe, "a cup", [1], **SHORT))
    with Regulator(plain, profile=t2i_profile).attach(pipe) as attachment:
        regulated = call_pipe(pipe, "a cup", [1], **SHORT)
    assert attachment.last.rewound
    assert not torch.equal(stock, regulated)
    torch.testing.assert_close(regulated, not_compiled, atol=1e-4, rtol=1e-4)
    assert torch.equal(stock, call_pipe(pipe, "a cup", [1], **SHORT))


def test_modulated_attention_compiles_too(t2i_pipe, t2i_profile):
    profile = replace(t2i_profile, restrict=None, modulate=ModulatePreset(boost=1.5))
    regulated = []
    for compile_it in (lambda pipe: None, in_place):
        compile_it(t2i_pipe)
        with Regulator(firing(profile), profile=profile).attach(t2i_pipe):
            regulated.append(call_pipe(t2i_pipe, "a cup", [1], **SHORT))
    torch.testing.assert_close(*regulated, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("compile_it", "error", "message"),
    [
        (in_place, UVRError, "compiled while the regulator was attached"),
        (wrapped, MismatchError, "transformer was replaced"),
    ],
)
def test_compiling_while_attached_is_refused(
    t2i_pipe, t2i_profile, compile_it: Callable[[Any], None], error, message
):
    with Regulator(firing(t2i_profile), profile=t2i_profile).attach(t2i_pipe):
        compile_it(t2i_pipe)
        with pytest.raises(error, match=message):
            call_pipe(t2i_pipe, "a cup", [1], **SHORT)
