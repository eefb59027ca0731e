"""FLUX's attention with processors of a method's own, and transformer calls that it takes part in.

The processors derive from ``RegulatedFluxAttention``, which attends as stock FLUX does, and share
an ``AttentionState``. All of it is undone on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from torch import Tensor

from uvr.engine.interception import module_calls_through
from uvr.families.attention import AttentionState
from uvr.families.family import named_arguments
from uvr.families.flux_processor import RegulatedFluxAttention, regulated_flux_attention
from uvr.families.known import family_of
from uvr.method.rewind import Call
from uvr.method.tokens import TokenLayout

Run = Callable[[Call], Any]
"""One call of the transformer, with the method's processors."""


@dataclass
class PassState(AttentionState):
    """What the processors share, and where in a generation the pass is.

    Attributes:
        sigma: Noise level of the pass.
        first_sigma: Noise level of the generation's first pass.
        passes: Passes of the present step so far; the one with the prompt comes first.
        step: Number of the step, from 0; -1 before the first.
    """

    sigma: float = 0.0
    first_sigma: float = 0.0
    passes: int = 0
    step: int = -1

    @property
    def tokens(self) -> TokenLayout:
        """Layout of the present pass, or of the latest one."""
        if self.layout is None:
            raise ValueError("there was no pass yet")
        return self.layout

    def begin(self) -> None:
        """Forget the generation before."""
        self.step, self.passes, self.sigma = -1, 0, 0.0
        self.action = None

    def count(self, sigma: float) -> None:
        """Note that a pass begins."""
        if self.step < 0:
            self.first_sigma = sigma
        same = self.step >= 0 and sigma == self.sigma
        self.passes = self.passes + 1 if same else 1
        self.step += not same
        self.sigma = sigma

    def within(self, stage_end: float) -> bool:
        """Whether the pass lies in the start-up stage, as ``uvr.method.stage`` has it."""
        return self.step == 0 or self.sigma >= stage_end * self.first_sigma - 1e-6


@contextmanager
def own_attention(
    pipe: Any,
    state: PassState,
    kind: type[RegulatedFluxAttention] = RegulatedFluxAttention,
    through: Callable[[Run, Call], Any] | None = None,
) -> Iterator[None]:
    """Have a pipeline attend by processors of a kind, within the context.

    Args:
        pipe: A FLUX pipeline.
        state: What they share; each pass is counted, and its layout set, before it begins.
        kind: Of the processors.
        through: Takes the place of each call of the transformer: ``through(run, call)``.

    Raises:
        MismatchError: The transformer does not run stock FLUX attention.
    """
    family, transformer = family_of(pipe), pipe.transformer

    def called(*args: Any, **kwargs: Any) -> Any:
        call = named_arguments(transformer, args, kwargs)
        state.count(float(family.sigma(call)[0]))
        state.layout = family.layout(call)
        return run(call) if through is None else through(run, call)

    def run(call: Call) -> Any:
        with state.forward_pass():
            return own(**call)

    with (
        regulated_flux_attention(transformer, state, {FluxAttnProcessor: kind}),
        module_calls_through(transformer, called) as own,
    ):
        yield


def beside(call: Call, encoder_hidden_states: Tensor) -> dict[str, Any]:
    """The call with a second row for each picture, of the same latents under another text.

    Args:
        call: (rows, ...) in all.
        encoder_hidden_states: The other text of each row, as long as the call's, (rows, tokens,
            dim). What is pooled stays the call's, so that both rows are modulated alike.
    """
    twice = {
        name: torch.cat([call[name], call[name]])
        for name in ("hidden_states", "pooled_projections", "timestep", "guidance")
        if call.get(name) is not None
    }
    text = call["encoder_hidden_states"]
    return {**call, **twice, "encoder_hidden_states": torch.cat([text, encoder_hidden_states])}


def first_rows(output: Any) -> Any:
    """What the transformer returned, without the second rows."""
    half = output[0].chunk(2)[0]
    return (half, *output[1:]) if isinstance(output, tuple) else type(output)(sample=half)
