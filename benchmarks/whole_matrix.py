"""Attention as the method's reference release runs it: the whole matrix, in the start-up stage.

It needs the matrix to scale columns of it after the softmax. Nothing is scaled here: what is timed
is the matrix alone, with no regulation.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: TID253 (this is what is measured)
from torch import Tensor  # noqa: TID253

from uvr.families.attention import AttentionState
from uvr.families.flux2_processor import FLUX2_KINDS
from uvr.families.flux_processor import FLUX_KINDS, RegulatedFluxAttention, regulated_flux_attention
from uvr.families.known import family_of
from uvr.profiles import ModelProfile


class WholeMatrix(RegulatedFluxAttention):
    """Attends by the whole matrix while its state is in the start-up stage."""

    def _dispatch(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        if not self.state.in_stage:
            return super()._dispatch(query, key, value, mask)
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        weights = torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, dim=-1)
        return (weights @ value).transpose(1, 2)


class StageState(AttentionState):
    """Says whether the present call is in the start-up stage."""

    in_stage = False


KINDS = {
    stock: type(f"Whole{ours.__name__}", (WholeMatrix, ours), {})
    for stock, ours in (*FLUX_KINDS.items(), *FLUX2_KINDS.items())
}


@contextmanager
def whole_matrix(pipe: Any, profile: ModelProfile) -> Iterator[None]:
    """Run a pipeline so, within the context."""
    state, family = StageState(), family_of(pipe)

    def before(module: Any, args: Any, call: dict[str, Any]) -> None:
        state.in_stage = float(family.sigma(call)[0]) >= profile.stage_end

    hook = pipe.transformer.register_forward_pre_hook(before, with_kwargs=True)
    try:
        with regulated_flux_attention(pipe.transformer, state, KINDS):
            yield
    finally:
        hook.remove()
