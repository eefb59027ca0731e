"""Pictures as FLUX sees them: encoded, packed into tokens, noised, with their positions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from uvr.profiles import ModelProfile
from uvr.sample import Sample


def noised_call(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Build a transformer call over noised pictures as the pipelines do; see ``Family``."""
    device = getattr(pipe, "_execution_device", pipe.device)
    prompt_embeds, pooled, text_ids = pipe.encode_prompt(
        prompt=[sample.prompt for sample in samples],
        prompt_2=None,
        device=device,
        max_sequence_length=profile.call.get("max_sequence_length", 512),
    )
    hidden_states, img_ids = noised_tokens(pipe, profile, samples, sigma, generator)
    hidden_states = hidden_states.to(prompt_embeds.dtype)
    guidance = None
    if pipe.transformer.config.guidance_embeds:
        scale = float(profile.call.get("guidance_scale", 3.5))
        guidance = torch.full((len(samples),), scale, device=device)
    return {
        "hidden_states": hidden_states,
        "timestep": torch.full((len(samples),), sigma, device=device, dtype=hidden_states.dtype),
        "guidance": guidance,
        "pooled_projections": pooled,
        "encoder_hidden_states": prompt_embeds,
        "txt_ids": text_ids,
        "img_ids": img_ids.to(device, prompt_embeds.dtype),
        "return_dict": False,
    }


def noised_tokens(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Tokens of noised pictures, followed by those of the given ones where the task is to edit.

    Args:
        pipe: The pipeline.
        profile: Its profile.
        samples: All with a given picture, or none.
        sigma: The noise level.
        generator: Of the noise.

    Returns:
        Tokens, (samples, tokens, channels), and the position of each, (tokens, 3), float32.
    """
    clean = encode_images(pipe, [sample.image for sample in samples], profile.size)
    rows, columns = clean.shape[2] // 2, clean.shape[3] // 2
    packed = pack_latents(clean)
    noise = torch.randn(packed.shape, generator=generator).to(packed)
    noised = (1 - sigma) * packed + sigma * noise
    given = [sample.given for sample in samples if sample.given is not None]
    if profile.task != "edit" or not given:
        return noised, image_ids(rows, columns)
    references = packed
    if any(sample.source is not None for sample in samples):
        references = pack_latents(encode_images(pipe, given, profile.size))
    ids = [image_ids(rows, columns, picture) for picture in (0, 1)]
    return torch.cat([noised, references], dim=1), torch.cat(ids)


def encode_images(pipe: Any, images: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
    """Latents of pictures as the pipelines scale them, (batch, channels, rows, columns)."""
    height, width = size
    resized = [picture.convert("RGB").resize((width, height)) for picture in images]
    return encode_pixels(pipe, pipe.image_processor.preprocess(resized, height=height, width=width))


def encode_pixels(pipe: Any, pixels: Tensor) -> Tensor:
    """The same of pixels from -1 to 1, (batch, 3, height, width); gradients go through."""
    parameter = next(pipe.vae.parameters())
    # Offloaded weights are elsewhere until they run; pixels must be where they will be.
    device = getattr(pipe, "_execution_device", parameter.device)
    encoded = pipe.vae.encode(pixels.to(device, parameter.dtype))
    # AutoencoderKL returns a distribution, AutoencoderTiny the latents themselves.
    latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    config = pipe.vae.config
    scaled: Tensor = (latents - (config.shift_factor or 0.0)) * config.scaling_factor
    return scaled


def pack_latents(latents: Tensor) -> Tensor:
    """Fold 2x2 latent pixels into tokens, (batch, rows / 2 * columns / 2, channels * 4)."""
    return F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def image_ids(rows: int, columns: int, picture: int = 0) -> Tensor:
    """Position of each image token: picture, row, column; (rows * columns, 3), float32."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack([torch.full_like(row, picture), row, column], dim=-1).reshape(-1, 3).float()
