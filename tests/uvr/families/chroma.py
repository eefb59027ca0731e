"""A tiny random Chroma pipeline of stock classes."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import ChromaPipeline, ChromaTransformer2DModel

from tests.uvr.conftest import HEAD_DIM, HEADS, make_pipe


def make_chroma(cls: type = ChromaPipeline, singles: int = 2) -> Any:
    torch.manual_seed(0)
    transformer = ChromaTransformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=singles,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=24,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=16,
        approximator_hidden_dim=8,
        approximator_layers=1,
    )
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if parameter.ndim == 2 and not name.startswith("distilled"):
                parameter.mul_(2.0)
        transformer.distilled_guidance_layer.out_proj.bias.add_(0.5)  # gates that are open
    parts = make_pipe()
    pipe = cls(
        scheduler=parts.scheduler,
        vae=parts.vae,
        text_encoder=parts.text_encoder_2,
        tokenizer=parts.tokenizer_2,
        transformer=transformer.eval(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
