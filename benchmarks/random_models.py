"""Pipelines of the full structure of real models with random weights: nothing to download.

They draw noise, in the time that the real ones take. There is no text encoder: prompts are random
embeddings.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch  # noqa: TID253 (this is what is measured)
from diffusers import (  # noqa: TID253
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
)
from PIL import Image

TINY = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2}
"""With enough single-stream blocks for the profiles' taps."""


@dataclass(frozen=True)
class Model:
    """A model to time.

    Attributes:
        name: As profiles have it.
        pipe: The pipeline.
        text: Shapes of the embeddings of one prompt, by argument.
        size: Height and width of a picture in pixels.
    """

    name: str
    pipe: Any
    text: dict[str, tuple[int, ...]]
    size: int

    def call(self, batch: int, task: str, seed: int) -> dict[str, Any]:
        """Arguments that say what to draw, the same for the same seed."""
        draw = torch.Generator().manual_seed(seed)
        like = next(self.pipe.transformer.parameters())
        arguments: dict[str, Any] = {
            name: torch.randn(batch, *shape, generator=draw).to(like)
            for name, shape in self.text.items()
        }
        arguments["generator"] = [torch.Generator().manual_seed(seed + n) for n in range(batch)]
        if task == "edit":
            pixels = np.random.default_rng(seed).integers(0, 255, (self.size, self.size, 3))
            arguments["image"] = Image.fromarray(pixels.astype(np.uint8))
        return {**arguments, "height": self.size, "width": self.size, "output_type": "latent"}


def flux1_dev(tiny: bool) -> Model:
    """FLUX.1-dev: 12 billion parameters."""
    small = {**TINY, "num_single_layers": 11, "joint_attention_dim": 32,
             "pooled_projection_dim": 32, "axes_dims_rope": (4, 6, 6)}  # fmt: skip
    transformer = FluxTransformer2DModel(guidance_embeds=True, **(small if tiny else {}))
    pipe = FluxPipeline(
        scheduler=_scheduler(), transformer=transformer, vae=None, text_encoder=None,
        tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip
    config = transformer.config
    text = {
        "prompt_embeds": (16 if tiny else 512, config.joint_attention_dim),
        "pooled_prompt_embeds": (config.pooled_projection_dim,),
    }
    return _ready("flux.1-dev", pipe, text, tiny)


def flux2_klein_4b(tiny: bool) -> Model:
    """FLUX.2-klein-4B, distilled: 4 billion parameters."""
    small = {**TINY, "num_single_layers": 8, "joint_attention_dim": 32, "axes_dims_rope": [4] * 4}
    full = {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24,
            "joint_attention_dim": 7680}  # fmt: skip
    transformer = Flux2Transformer2DModel(guidance_embeds=False, **(small if tiny else full))
    narrow = {"block_out_channels": (4, 4, 4, 4), "norm_num_groups": 4} if tiny else {}
    pipe = Flux2KleinPipeline(
        scheduler=_scheduler(), transformer=transformer, vae=AutoencoderKLFlux2(**narrow),
        text_encoder=None, tokenizer=None, is_distilled=True,
    )  # fmt: skip
    text = {"prompt_embeds": (16 if tiny else 512, transformer.config.joint_attention_dim)}
    return _ready("flux.2-klein-4b", pipe, text, tiny)


MODELS: dict[str, Callable[[bool], Model]] = {
    "flux.1-dev": flux1_dev,
    "flux.2-klein-4b": flux2_klein_4b,
}


def build(name: str, tiny: bool, device: str) -> Model:
    """Build a model on its device, in bfloat16; tiny ones in float32."""
    before = torch.get_default_dtype()
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float32 if tiny else torch.bfloat16)
    try:
        with torch.device(device):
            return MODELS[name](tiny)
    finally:
        torch.set_default_dtype(before)


def _scheduler() -> FlowMatchEulerDiscreteScheduler:
    with torch.device("cpu"):
        return FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)


def _ready(name: str, pipe: Any, text: dict[str, tuple[int, ...]], tiny: bool) -> Model:
    pipe.set_progress_bar_config(disable=True)
    pipe.transformer.eval().requires_grad_(False)
    if tiny:  # Full ones are known by their structure.
        pipe.transformer.register_to_config(_uvr_model=name)
    return Model(name, pipe, text, 128 if tiny else 1024)
