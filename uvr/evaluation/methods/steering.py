"""Steering by a mean difference at the taps: CASteer's idea (arXiv 2503.09630) on FLUX.

The authors take, for each cross-attention layer, the mean output over pictures that show a concept
minus that over pictures without it, as a unit vector s, and at inference take from each vector h
its share of it, where it has any, keeping its length: h - beta max(h.s, 0) s. FLUX has no
cross-attention: here h is the joint attention's output of a picture's patches at the profile's
taps, and s is the same at every step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.attention import PassState, own_attention
from uvr.evaluation.methods.drawn_features import draw_features
from uvr.evaluation.methods.method import Method
from uvr.evaluation.setting import Setting
from uvr.families.flux_processor import RegulatedFluxAttention
from uvr.method.taps import output_taps


@dataclass(frozen=True)
class Steering(Method):
    """Takes from attention outputs what they share with a concept's mean difference.

    Attributes:
        beta: How much of it: 1 takes it all, 2 turns it round, as the authors have it.
        pictures: Drawn of each concept for its vector, and as many without it.
    """

    beta: float = 6.0
    pictures: int = 8

    name = "steering"
    about = "Each patch's attention output at the taps is steered off each concept's mean."
    tuned = "Beta chosen from 2 (the authors'), 6, 10 on 30 pictures of seed 31 each."
    code = (
        "uvr.anchors",
        "uvr.evaluation.methods.attention",
        "uvr.evaluation.methods.drawn_features",
        "uvr.families",
    )

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw pictures for the vectors; then steer in every pass."""
        state = SteeringState(beta=self.beta)
        differences = []
        for definition in setting.definitions:
            drawn = draw_features(pipe, setting, definition, self.pictures)
            difference = drawn.look.mean(axis=(0, 1)) - drawn.other_look.mean(axis=(0, 1))
            differences.append(
                torch.from_numpy(difference).chunk(len(output_taps(setting.profile.taps)))
            )
        state.vectors = {
            tap: torch.nn.functional.normalize(torch.stack(parts), dim=1)
            for tap, parts in zip(
                output_taps(setting.profile.taps), zip(*differences, strict=True), strict=True
            )
        }
        with own_attention(pipe, state, Steered):

            def draw(cases: Sequence[Case]) -> list[Picture]:
                arguments = call_arguments(pipe, setting.profile, cases)
                return [Picture(image) for image in pipe(**arguments).images]

            yield draw


@dataclass
class SteeringState(PassState):
    """Also what to steer off.

    Attributes:
        vectors: For each tap a unit vector of each concept, (concepts, dim).
        beta: See ``Steering``.
    """

    vectors: dict[str, Tensor] = field(default_factory=dict)
    beta: float = 2.0


class Steered(RegulatedFluxAttention):
    """Steers the output patches at the taps."""

    state: SteeringState

    def regulate(self, out: Tensor) -> Tensor:
        """Steer the joint attention output, (rows, tokens, dim)."""
        out, state = super().regulate(out), self.state
        if self.module not in state.vectors:
            return out
        span = state.tokens.output
        steered = out.clone()
        steered[:, span] = steered_off(out[:, span], state.vectors[self.module], state.beta)
        return steered


def steered_off(vectors: Tensor, directions: Tensor, beta: float) -> Tensor:
    """Take from vectors, (..., dim), beta times what they share with unit directions, (n, dim).

    One direction after the other, since those of several concepts overlap; lengths stay.
    """
    plain = vectors.float()
    moved = plain
    for direction in directions.to(plain.device):
        share = (moved @ direction).clamp(min=0)
        moved = moved - beta * share[..., None] * direction
    length = plain.norm(dim=-1, keepdim=True) / moved.norm(dim=-1, keepdim=True).clamp(min=1e-12)
    steered: Tensor = (moved * length).to(vectors.dtype)
    return steered
