"""Value-space decomposition: AdaVD's idea (arXiv 2412.06143) on FLUX.

In cross-attention, keys say where and values say what. The authors take from the value vector of
each token of the prompt its projection on the span of the target concepts' value vectors, the last
token of each concept's text; a sigmoid of the cosine between both, steep at a threshold, says how
much. Their version for FLUX (Uni-AdaVD) does so with the text's values in the double-stream blocks.

There the targets run along in the batch, a pass more for each concept. Here they are recorded once,
from one generation for each concept's name, and taken at the nearest noise level.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.attention import PassState, own_attention
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import name_of, text_length, token_ids
from uvr.evaluation.setting import Setting
from uvr.families.attention import Dispatch
from uvr.families.flux_processor import RegulatedFluxAttention


@dataclass(frozen=True)
class AdaVd(Method):
    """Takes the concepts' part from the value vectors of the text.

    Attributes:
        cosine: Where the sigmoid is at half of its height.
        steepness: Of the sigmoid.
        height: Of the sigmoid: 1 takes the whole projection, more turns it round.
    """

    cosine: float = 0.7
    steepness: float = 100.0
    height: float = 1.0

    name = "adavd"
    about = "Value vectors of the text in double-stream blocks lose what they share with names."
    tuned = (
        "The release's steepness; the cosine chosen from 0.6, 0.7, 0.75, 0.85 on 30 pictures of "
        "seed 31 each."
    )
    code = (
        "uvr.evaluation.methods.attention",
        "uvr.evaluation.methods.texts",
        "uvr.families",
    )

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Record the targets in one generation; then decompose in every pass."""
        state = ValueState(sigmoid=(self.cosine, self.steepness, self.height))
        names = [name_of(definition) for definition in setting.definitions]
        _, said = token_ids(pipe, names, text_length(setting.profile))
        with own_attention(pipe, state, Decomposed):
            state.recorded = [int(row.nonzero().max()) if row.any() else 0 for row in said]
            asked = [Case(setting.task, "target", name, setting.seed) for name in names]
            state.begin()
            pipe(**call_arguments(pipe, setting.profile, asked, output_type="latent"))
            state.recorded = None

            def draw(cases: Sequence[Case]) -> list[Picture]:
                state.begin()
                arguments = call_arguments(pipe, setting.profile, cases)
                return [Picture(image) for image in pipe(**arguments).images]

            yield draw


@dataclass
class ValueState(PassState):
    """Also the targets.

    Attributes:
        sigmoid: Cosine at half of its height, steepness, height.
        recorded: While targets are recorded, the place of each concept's last token.
        targets: Value vectors of the concepts by layer and noise level, (concepts, dim).
    """

    sigmoid: tuple[float, float, float] = (0.0, 0.0, 0.0)
    recorded: list[int] | None = None
    targets: dict[str, dict[float, Tensor]] = field(default_factory=dict)


class Decomposed(RegulatedFluxAttention):
    """Decomposes the text's values in double-stream blocks."""

    state: ValueState

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dispatch: Dispatch
    ) -> Tensor:
        """Attend with values of which the concepts' part is taken."""
        if not self.module.startswith("single"):
            value = self._decomposed(value)
        return super().attend(query, key, value, mask, dispatch)

    def _decomposed(self, value: Tensor) -> Tensor:
        state = self.state
        text = state.tokens.text
        targets = state.targets.setdefault(self.module, {})
        if state.recorded is not None:
            rows = value[torch.arange(len(value)), torch.tensor(state.recorded)]
            targets[state.sigma] = rows.flatten(1).float()
            return value
        target = targets[min(targets, key=lambda sigma: abs(sigma - state.sigma))]
        flat = value[:, text].flatten(2)
        value = value.clone()
        value[:, text] = decomposed(flat, target, *state.sigmoid).view_as(value[:, text])
        return value


def decomposed(
    values: Tensor, targets: Tensor, cosine: float, steepness: float, height: float
) -> Tensor:
    """Take from values, (..., dim), a share of their projection on the span of targets, (n, dim).

    The share is the sigmoid of the highest cosine between a value and a target.
    """
    plain = values.float()
    nearest = (F.normalize(plain, dim=-1) @ F.normalize(targets, dim=-1).T).amax(dim=-1)
    share = height * torch.sigmoid(steepness * (nearest - cosine))
    projection = plain @ (torch.linalg.pinv(targets) @ targets)
    left: Tensor = (plain - share[..., None] * projection).to(values.dtype)
    return left
