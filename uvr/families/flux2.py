"""FLUX.2: dev and klein, which draw and edit with one pipeline each.

1. The transformer is called as FLUX.1's is, ``[text, output, references...]``. Positions have four
   columns, (T, H, W, L): T is 0 for output tokens and 10, 20, ... for the references.
2. A call with references is an edit, another one is text-to-image.
3. A token is a patch of 2 x 2 latent pixels, which the pipeline folds into channels and normalises
   with the batch statistics of the VAE.
4. dev has its guidance as an input; klein's, where it is not distilled, is true CFG, a second call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from concepts.errors import MismatchError
from uvr.families.attention import AttentionState
from uvr.families.flux import FluxFamily, named_profile, said_name
from uvr.families.flux2_processor import FLUX2_KINDS
from uvr.families.flux_processor import regulated_flux_attention
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.sample import Sample

_DEV = (8, 48, 48)  # double and single blocks, heads
_KLEIN_4B = (5, 20, 24)


class Flux2Family(FluxFamily):
    """FLUX.2-dev and -klein-4B."""

    name = "FLUX.2"
    shared = frozenset({"image"})

    def recognises(self, pipe: Any) -> bool:
        return hasattr(getattr(pipe, "transformer", None), "double_stream_modulation_img")

    def profile(self, pipe: Any) -> ModelProfile:
        """The profile for text-to-image; see ``profiles``."""
        return self.profiles(pipe)[0]

    def profiles(self, pipe: Any) -> list[ModelProfile]:
        """Find profiles by the pipeline's name, then by its transformer's structure.

        klein-4B and its base, which is made for more steps, differ in ``is_distilled`` alone.

        Raises:
            MismatchError: There are none for this model, or it caches its references.
        """
        _refuse_cached_references(pipe.transformer)
        model = said_name(pipe) or _model_by_structure(pipe)
        return [named_profile(model, task) for task in ("t2i", "edit")]

    def task(self, layout: TokenLayout) -> str:
        return "edit" if layout.references else "t2i"

    def regulated_attention(
        self, transformer: Any, state: AttentionState
    ) -> AbstractContextManager[None]:
        _refuse_cached_references(transformer)
        return regulated_flux_attention(transformer, state, FLUX2_KINDS)

    def latents_argument(self, latents: Tensor, layout: TokenLayout) -> Tensor:
        """Latents as a picture, (rows, channels, height, width); the pipeline packs them."""
        rows, columns = layout.grid
        return latents.transpose(1, 2).reshape(len(latents), -1, rows, columns)

    def shift(self, num_tokens: int, steps: int, config: Any) -> float:
        """Shift by tokens and steps, as FLUX.2 pipelines compute it; ``config`` has no say."""
        at_200 = 0.00016927 * num_tokens + 0.45666666
        if num_tokens > 4300:
            return at_200
        at_10 = 8.73809524e-05 * num_tokens + 1.89833333
        return at_200 + (at_200 - at_10) / 190 * (steps - 200)

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        device = getattr(pipe, "_execution_device", pipe.device)
        prompt_embeds, text_ids = pipe.encode_prompt(
            prompt=[sample.prompt for sample in samples],
            device=device,
            max_sequence_length=profile.call.get("max_sequence_length", 512),
        )
        latents = _encode_images(pipe, [sample.image for sample in samples], profile.size)
        img_ids, clean = pipe._prepare_latent_ids(latents), pipe._pack_latents(latents)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        hidden_states = (1 - sigma) * clean + sigma * noise
        given = [sample.given for sample in samples if sample.given is not None]
        if profile.task == "edit" and given:
            references = clean
            if any(sample.source is not None for sample in samples):
                references = pipe._pack_latents(_encode_images(pipe, given, profile.size))
            ids = pipe._prepare_image_ids([latents[:1]]).expand(len(samples), -1, -1)
            hidden_states = torch.cat([hidden_states, references], dim=1)
            img_ids = torch.cat([img_ids, ids], dim=1)
        guidance = None
        if pipe.transformer.config.get("guidance_embeds", True):
            scale = float(profile.call["guidance_scale"])
            guidance = torch.full((len(samples),), scale, device=device)
        return {
            "hidden_states": hidden_states.to(device, prompt_embeds.dtype),
            "timestep": torch.full((len(samples),), sigma, device=device).to(prompt_embeds.dtype),
            "guidance": guidance,
            "encoder_hidden_states": prompt_embeds,
            "txt_ids": text_ids,
            "img_ids": img_ids.to(device),
            "return_dict": False,
        }

    def call_arguments(self, profile: ModelProfile, request: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a pipeline call; the output's size does not follow from the references'."""
        return {**profile.call, **request}


def _encode_images(pipe: Any, images: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
    """Normalised latents of pictures, (batch, channels, rows, columns) with a pixel a token."""
    height, width = size
    resized = [image.convert("RGB").resize((width, height)) for image in images]
    pixels = pipe.image_processor.preprocess(resized, height=height, width=width)
    parameter = next(pipe.vae.parameters())
    device = getattr(pipe, "_execution_device", parameter.device)  # see ``encode_pixels``
    latents: Tensor = pipe._encode_vae_image(pixels.to(device, parameter.dtype), generator=None)
    return latents


def _model_by_structure(pipe: Any) -> str | None:
    config = pipe.transformer.config
    names = ("num_layers", "num_single_layers", "num_attention_heads")
    structure = tuple(config.get(name) for name in names)
    if structure == _DEV and config.get("guidance_embeds", True):
        return "flux.2-dev"
    if structure == _KLEIN_4B and pipe.config.get("is_distilled"):
        return "flux.2-klein-4b"
    return None


def _refuse_cached_references(transformer: Any) -> None:
    # By name: older releases of diffusers lack the classes.
    if any("KV" in type(each).__name__ for each in transformer.attn_processors.values()):
        raise MismatchError(
            "This FLUX.2 pipeline keeps keys and values of its reference pictures from the first "
            "step on (KV cache), and they could not be regulated afterwards; use a klein without "
            "the cache, with Flux2KleinPipeline."
        )
