"""NAG, normalised attention guidance (arXiv 2505.21179), with the names as the negative prompt.

Each picture runs in two rows, one under its prompt and one under the negative prompt. In every
attention layer the picture's outputs Z+ and Z- of both are extrapolated, s Z+ - (s - 1) Z-; each
token's L1 norm is limited to tau times that of Z+; and the result, blended with Z+ by alpha, goes
on in both rows. The texts of both rows go on by themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.attention import PassState, Run, beside, first_rows, own_attention
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import encode, names_of
from uvr.evaluation.setting import Setting
from uvr.families.flux_processor import RegulatedFluxAttention
from uvr.method.rewind import Call


@dataclass(frozen=True)
class Nag(Method):
    """Guides every attention output away from that under the concepts' names.

    Attributes:
        scale: s above, 1 or more.
        tau: Limit of a token's norm.
        alpha: Share of what is guided, from 0, which changes nothing, to 1.
    """

    scale: float = 5.0
    tau: float = 2.5
    alpha: float = 0.25

    name = "nag"
    about = "Attention outputs are extrapolated away from those under the concepts' names."
    tuned = (
        "The authors' numbers; two stronger settings lost more than they erased, on 30 pictures of "
        "seed 31 each."
    )
    code = (
        "uvr.evaluation.methods.attention",
        "uvr.evaluation.methods.texts",
        "uvr.families",
    )

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw with a second row for each picture."""
        names, state = names_of(setting), GuidedState(guidance=(self.scale, self.tau, self.alpha))
        negatives: dict[int, Tensor] = {}

        def through(run: Run, call: Call) -> Any:
            text = call["encoder_hidden_states"]
            length = text.shape[1]
            if length not in negatives:
                negatives[length] = encode(pipe, [names], length).embeds.to(text)
            return first_rows(run(beside(call, negatives[length].expand_as(text))))

        with own_attention(pipe, state, Guided, through):

            def draw(cases: Sequence[Case]) -> list[Picture]:
                arguments = call_arguments(pipe, setting.profile, cases)
                return [Picture(image) for image in pipe(**arguments).images]

            yield draw


@dataclass
class GuidedState(PassState):
    """Also scale, tau and alpha."""

    guidance: tuple[float, float, float] = (1.0, 1.0, 0.0)


class Guided(RegulatedFluxAttention):
    """Guides what lies behind the text, the picture and its references."""

    state: GuidedState

    def regulate(self, out: Tensor) -> Tensor:
        """Guide the joint attention output, (2 * pictures, tokens, dim)."""
        out, state = super().regulate(out), self.state
        text = state.tokens.num_text
        positive, negative = out[:, text:].chunk(2)
        picture = guided(positive, negative, *state.guidance)
        return torch.cat([out[:, :text], torch.cat([picture, picture])], dim=1)


def guided(positive: Tensor, negative: Tensor, scale: float, tau: float, alpha: float) -> Tensor:
    """Guide outputs under the prompt away from those under the negative one, (..., dim) each."""
    plain = positive.float()
    moved = scale * plain - (scale - 1) * negative.float()
    ratio = moved.abs().sum(-1, keepdim=True) / plain.abs().sum(-1, keepdim=True).clamp(min=1e-12)
    limited = moved * (ratio.clamp(max=tau) / ratio.clamp(min=1e-12))
    return (alpha * limited + (1 - alpha) * plain).to(positive.dtype)
