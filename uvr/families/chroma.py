"""Chroma: FLUX.1's blocks, without a pooled text and guidance as inputs; it draws and never edits.

1. The transformer is called as FLUX.1's is, and runs FLUX.1's own attention.
2. A mask hides all but the first of the text's padding tokens, in every layer.
3. Guidance is true CFG, a second call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from uvr.families.flux import FluxFamily, named_profile, said_name
from uvr.families.flux_pictures import noised_tokens
from uvr.profiles import ModelProfile
from uvr.sample import Sample


class ChromaFamily(FluxFamily):
    """Chroma1-HD; its other checkpoints have the same structure and need a profile of their own."""

    name = "Chroma"

    def recognises(self, pipe: Any) -> bool:
        config = getattr(getattr(pipe, "transformer", None), "config", {})
        return "approximator_num_channels" in config

    def profile(self, pipe: Any) -> ModelProfile:
        """Find a profile by the model's name: all checkpoints have one structure."""
        return named_profile(said_name(pipe), "t2i")

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        device = getattr(pipe, "_execution_device", pipe.device)
        prompt_embeds, text_ids, text_mask, *_ = pipe.encode_prompt(
            prompt=[sample.prompt for sample in samples],
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=profile.call.get("max_sequence_length", 512),
        )
        tokens, img_ids = noised_tokens(pipe, profile, samples, sigma, generator)
        hidden_states = tokens.to(device, prompt_embeds.dtype)
        count, length = hidden_states.shape[:2]
        return {
            "hidden_states": hidden_states,
            "timestep": torch.full((count,), sigma, device=device, dtype=hidden_states.dtype),
            "encoder_hidden_states": prompt_embeds,
            "txt_ids": text_ids,
            "img_ids": img_ids.to(device, prompt_embeds.dtype),
            "attention_mask": pipe._prepare_attention_mask(
                count, length, dtype=hidden_states.dtype, attention_mask=text_mask
            ),
            "return_dict": False,
        }
