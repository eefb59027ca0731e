"""FLUX.2's attention processors: attend like stock FLUX.2, capture and regulate as the state says.

Single-stream layers project attention and MLP together. What is captured and regulated is the
attention's part alone, before the two are joined for the output projection.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.transformers.transformer_flux2 import (
    Flux2AttnProcessor,
    Flux2ParallelSelfAttnProcessor,
)
from torch import Tensor

from uvr.families.flux_processor import Kinds, RegulatedFluxAttention, joint_projections


class RegulatedFlux2Attention(RegulatedFluxAttention):
    """Attention of one double-stream layer."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Attend over ``[text, image]``, given and returned as two sequences."""
        query, key, value = joint_projections(attn, hidden_states, encoder_hidden_states)
        out = self.rotated(query, key, value, attention_mask, image_rotary_emb)
        num_text = out.shape[1] - hidden_states.shape[1]
        text, image = out.split_with_sizes([num_text, hidden_states.shape[1]], dim=1)
        text = attn.to_add_out(text)
        image = attn.to_out[0](image)
        image = attn.to_out[1](image)
        return image, text


class RegulatedFlux2ParallelAttention(RegulatedFluxAttention):
    """Attention and MLP of one single-stream layer."""

    def __call__(  # type: ignore[override]  # Stock names no encoder_hidden_states here either.
        self,
        attn: Any,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor:
        """Attend over ``[text, image]`` as one sequence."""
        projected = attn.to_qkv_mlp_proj(hidden_states)
        mlp_dim = attn.mlp_hidden_dim * attn.mlp_mult_factor
        qkv, mlp = projected.split([3 * attn.inner_dim, mlp_dim], dim=-1)
        query, key, value = (part.unflatten(-1, (-1, attn.head_dim)) for part in qkv.chunk(3, -1))
        query, key = attn.norm_q(query), attn.norm_k(key)
        out = self.rotated(query, key, value, attention_mask, image_rotary_emb)
        joined: Tensor = attn.to_out(torch.cat([out, attn.mlp_act_fn(mlp)], dim=-1))
        return joined


FLUX2_KINDS: Kinds = {
    Flux2AttnProcessor: RegulatedFlux2Attention,
    Flux2ParallelSelfAttnProcessor: RegulatedFlux2ParallelAttention,
}
