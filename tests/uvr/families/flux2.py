"""Tiny random FLUX.2 pipelines of stock classes, text encoders of the real kinds included."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Pipeline,
    Flux2Transformer2DModel,
)
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.uvr.conftest import HEAD_DIM, HEADS, make_tokenizer

HIDDEN = 8
LENGTH = 12
PATCH = 8
CALL = {"height": 64, "width": 64, "num_inference_steps": 5, "max_sequence_length": LENGTH}
TEXT = {
    "vocab_size": 32,
    "hidden_size": HIDDEN,
    "intermediate_size": HIDDEN,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": HIDDEN,
    "num_hidden_layers": 30,  # the pipelines read the outputs of layers 9 to 30
    "max_position_embeddings": 64,
}
TEMPLATE = """{% for message in messages %}{% if message.content is string %}{{ message.content }}\
{% else %}{% for part in message.content %}{{ part.text }} {% endfor %}{% endif %}{% endfor %}"""


def make_transformer(
    *, doubles: int = 1, singles: int = 2, guidance: bool = False, seed: int = 0
) -> Flux2Transformer2DModel:
    torch.manual_seed(seed)
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=doubles,
        num_single_layers=singles,
        attention_head_dim=HEAD_DIM,
        num_attention_heads=HEADS,
        joint_attention_dim=3 * HIDDEN,
        timestep_guidance_channels=32,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance,
    )
    # A fresh model predicts nearly nothing; larger weights make pictures depend on attention.
    with torch.no_grad():
        for parameter in transformer.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2.0)
    return transformer.eval()


def make_vae() -> AutoencoderKLFlux2:
    torch.manual_seed(1)
    vae = AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(4, 4, 4),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
    )
    vae.bn.running_mean.normal_()
    vae.bn.running_var.uniform_(0.5, 2.0)
    return vae.eval()


def make_chat_tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer(32)
    tokenizer.chat_template = TEMPLATE
    tokenizer.padding_side = "left"
    return tokenizer


def make_qwen3() -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM(Qwen3Config(**TEXT)).eval()


def make_mistral3() -> Mistral3ForConditionalGeneration:
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1,
              "num_attention_heads": 1, "image_size": 28, "patch_size": 14}  # fmt: skip
    config = Mistral3Config(
        text_config={"model_type": "mistral", **TEXT},
        vision_config={"model_type": "pixtral", **vision},
    )
    return Mistral3ForConditionalGeneration(config).eval()


def make_flux2(cls: type = Flux2KleinPipeline, **options: Any) -> Any:
    """A pipeline; dev's class has guidance as an input."""
    dev = cls is Flux2Pipeline
    transformer = make_transformer(guidance=dev, **options)
    torch.manual_seed(2)
    pipe = cls(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=make_vae(),
        text_encoder=make_mistral3() if dev else make_qwen3(),
        tokenizer=make_chat_tokenizer(),
        transformer=transformer,
    )
    if dev:
        pipe.system_message = "keep it"
    pipe.set_progress_bar_config(disable=True)
    return pipe
