"""LongCat-Image: FLUX.1's blocks with another text encoder, and a pipeline for each task.

1. The transformer is called as FLUX.1's is. Column 0 of ``img_ids`` is 1 for output tokens and 2
   for reference tokens; rows and columns count on from the text's length.
2. Guidance is true CFG, a second call. Text-to-image then scales each guided velocity back to the
   length of the conditional one (``enable_cfg_renorm``): such steps are not repeated.
3. Editing takes one picture, which the text encoder sees too, at half its size. The output's size
   follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from diffusers.models.transformers.transformer_longcat_image import (
    LongCatImageAttnProcessor,
    LongCatImageTransformer2DModel,
)
from diffusers.utils.torch_utils import unwrap_module
from torch import Tensor

from concepts.errors import InputError
from uvr.families.attention import AttentionState
from uvr.families.flux import FluxFamily, named_profile, read_layout, said_name
from uvr.families.flux_pictures import noised_tokens
from uvr.families.flux_processor import Kinds, RegulatedFluxAttention, regulated_flux_attention
from uvr.method.rewind import Call
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.sample import Sample

_MODELS = {"t2i": "longcat-image", "edit": "longcat-image-edit"}
_FULL_SIZE = (10, 20)
_SIZE = ("height", "width")


class LongCatFamily(FluxFamily):
    """LongCat-Image and LongCat-Image-Edit."""

    name = "LongCat-Image"

    def recognises(self, pipe: Any) -> bool:
        transformer = unwrap_module(getattr(pipe, "transformer", None))
        return isinstance(transformer, LongCatImageTransformer2DModel)

    def profile(self, pipe: Any) -> ModelProfile:
        """Find a profile by the pipeline's class, then by its name or its structure.

        Raises:
            MismatchError: There is none for this model.
        """
        task = "edit" if "Edit" in type(pipe).__name__ else "t2i"
        config = pipe.transformer.config
        full = (config.get("num_layers"), config.get("num_single_layers")) == _FULL_SIZE
        return named_profile(said_name(pipe) or (_MODELS[task] if full else None), task)

    def regulated_attention(
        self, transformer: Any, state: AttentionState
    ) -> AbstractContextManager[None]:
        return regulated_flux_attention(transformer, state, _KINDS)

    def layout(self, call: Call) -> TokenLayout:
        ids: Tensor = call["img_ids"]
        return read_layout(self.num_text(call), ids - ids.new_tensor([1, 0, 0]))

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        device = getattr(pipe, "_execution_device", pipe.device)
        texts = [_encode(pipe, profile, sample) for sample in samples]
        prompt_embeds = torch.cat([embeds for embeds, _ in texts])
        tokens, img_ids = noised_tokens(pipe, profile, samples, sigma, generator)
        hidden_states = tokens.to(device, prompt_embeds.dtype)
        # Text-to-image counts on from the longest text that its tokenizer gives.
        start = prompt_embeds.shape[1] if profile.task == "edit" else pipe.tokenizer_max_length
        return {
            "hidden_states": hidden_states,
            "timestep": torch.full(
                (len(samples),), sigma, device=device, dtype=hidden_states.dtype
            ),
            "guidance": None,
            "encoder_hidden_states": prompt_embeds,
            "txt_ids": texts[0][1],
            "img_ids": (img_ids + img_ids.new_tensor([1, start, start])).to(device),
            "return_dict": False,
        }

    def call_arguments(self, profile: ModelProfile, request: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a pipeline call; an edit is of its picture's shape."""
        arguments = {**profile.call, **request}
        if profile.task != "edit":
            return arguments
        return {name: value for name, value in arguments.items() if name not in _SIZE}


class RegulatedLongCatAttention(RegulatedFluxAttention):
    """Attention of one layer: FLUX.1's, but that its output is not copied before it is projected.

    In half precision that copy changes bits.
    """

    def projected(self, attn: Any, image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        image = attn.to_out[1](attn.to_out[0](image))
        return image, attn.to_add_out(text)


_KINDS: Kinds = {LongCatImageAttnProcessor: RegulatedLongCatAttention}


def _encode(pipe: Any, profile: ModelProfile, sample: Sample) -> tuple[Tensor, Tensor]:
    """Text of one sample and its positions; an edit's encoder sees the picture that is edited."""
    if profile.task != "edit":
        embeds, ids = pipe.encode_prompt(prompt=[sample.prompt])
        return embeds, ids
    if sample.given is None:
        raise InputError("LongCat-Image-Edit draws nothing without a picture to edit.")
    height, width = profile.size
    picture = sample.given.convert("RGB").resize((width, height))
    half = pipe.image_processor.resize(picture, height // 2, width // 2)
    embeds, ids = pipe.encode_prompt(prompt=[sample.prompt], image=half)
    return embeds, ids
