"""Capture features at the taps: of noised pictures in one pass, or along real generations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from uvr.engine.processor import AttentionState, install_processors
from uvr.method.stage import Stage, current_step, plan_stage, usual_sigmas
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile

Progress = Callable[[int, int], None]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """A picture for collection.

    Attributes:
        image: The picture; resized to the model's usual size.
        mask: Pixels that show the concept (non-zero), at any size; None when there are none.
        prompt: Its caption or, for editing, an instruction for which it is the source.
    """

    image: Image.Image
    mask: Image.Image | NDArray[Any] | None = None
    prompt: str = ""


def capture_from_images(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    *,
    seed: int = 0,
    noise_draws: int = 1,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> Features:
    """Features of noised pictures at the look's noise level, one transformer pass a batch.

    Returns:
        (noise_draws * samples, patches, dim), all samples of the first draw first.
    """
    sigmas = usual_sigmas(pipe, profile)
    stage = _stage(profile, sigmas, 0)
    generator = torch.Generator().manual_seed(seed)
    state = AttentionState(taps=frozenset(profile.taps))
    work = list(samples) * noise_draws
    features = []
    with torch.no_grad(), install_processors(pipe.transformer, state):
        for start in range(0, len(work), batch_size):
            batch = work[start : start + batch_size]
            call = noised_call(pipe, profile, batch, sigmas[stage.look], generator)
            state.layout = TokenLayout.from_call(call["encoder_hidden_states"], call["img_ids"])
            state.capture = True
            pipe.transformer(**call)
            features.append(state.take_features(profile.taps).cpu().numpy())
            if progress is not None:
                progress(start + len(batch), len(work))
    return np.concatenate(features)


def capture_from_prompts(
    pipe: Any,
    profile: ModelProfile,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int | None = None,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> tuple[Features, Features]:
    """Generate a picture for each prompt; features at the look step and at the last step.

    Picture ``i`` is drawn from a generator seeded with ``seed + i``.

    Returns:
        Two arrays, (prompts, patches, dim).
    """
    look, late = [], []
    for start in range(0, len(prompts), batch_size):
        batch = list(prompts[start : start + batch_size])
        generators = [torch.Generator().manual_seed(seed + start + i) for i in range(len(batch))]
        arguments = {**profile.call, "num_inference_steps": steps or profile.steps}
        with _quiet(pipe), recorded_features(pipe, profile) as recorded:
            pipe(prompt=batch, generator=generators, output_type="latent", **arguments)
        look.append(recorded["look"])
        late.append(recorded["late"])
        if progress is not None:
            progress(start + len(batch), len(prompts))
    return np.concatenate(look), np.concatenate(late)


@contextmanager
def recorded_features(pipe: Any, profile: ModelProfile) -> Iterator[dict[str, Features]]:
    """Record features of one pipeline call: ``look`` and ``late``, (batch, patches, dim)."""
    state = AttentionState(taps=frozenset(profile.taps))
    recorded: dict[str, Features] = {}
    plan: list[tuple[Stage, int]] = []

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        step = current_step(pipe.scheduler, kwargs["timestep"])
        if not plan:
            sigmas = [float(sigma) for sigma in pipe.scheduler.sigmas.tolist()[:-1]]
            plan.append((_stage(profile, sigmas, step), len(sigmas) - 1))
        wanted = {"look": plan[0][0].look, "late": plan[0][1]}
        state.capture = any(step == at and name not in recorded for name, at in wanted.items())
        if state.capture:
            state.layout = TokenLayout.from_call(kwargs["encoder_hidden_states"], kwargs["img_ids"])

    def after(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if not state.capture:
            return
        step = current_step(pipe.scheduler, kwargs["timestep"])
        features = state.take_features(profile.taps).cpu().numpy()
        if step == plan[0][0].look:
            recorded["look"] = features
        if step == plan[0][1]:
            recorded["late"] = features

    hooks = (
        pipe.transformer.register_forward_pre_hook(before, with_kwargs=True),
        pipe.transformer.register_forward_hook(after, with_kwargs=True),
    )
    try:
        with install_processors(pipe.transformer, state):
            yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def noised_call(
    pipe: Any,
    profile: ModelProfile,
    samples: Sequence[Sample],
    sigma: float,
    generator: torch.Generator,
) -> dict[str, Any]:
    """Arguments of a transformer pass over noised pictures, as the pipelines build them.

    For editing, the picture is its own reference: the instruction leaves the concept in place.
    """
    device = getattr(pipe, "_execution_device", pipe.device)
    prompt_embeds, pooled, text_ids = pipe.encode_prompt(
        prompt=[sample.prompt for sample in samples],
        prompt_2=None,
        device=device,
        max_sequence_length=profile.call.get("max_sequence_length", 512),
    )
    clean = encode_images(pipe, [sample.image for sample in samples], profile.size)
    rows, columns = clean.shape[2] // 2, clean.shape[3] // 2
    packed = pack_latents(clean)
    noise = torch.randn(packed.shape, generator=generator).to(packed)
    hidden_states = ((1 - sigma) * packed + sigma * noise).to(prompt_embeds.dtype)
    img_ids = image_ids(rows, columns).to(device, prompt_embeds.dtype)
    if profile.task == "edit":
        hidden_states = torch.cat([hidden_states, packed.to(hidden_states.dtype)], dim=1)
        img_ids = torch.cat([img_ids, image_ids(rows, columns, picture=1).to(img_ids)])
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
        "img_ids": img_ids,
        "return_dict": False,
    }


def encode_images(pipe: Any, images: Sequence[Image.Image], size: tuple[int, int]) -> Tensor:
    """Latents of pictures as the pipelines scale them, (batch, channels, rows, columns)."""
    height, width = size
    resized = [picture.convert("RGB").resize((width, height)) for picture in images]
    pixels = pipe.image_processor.preprocess(resized, height=height, width=width)
    parameter = next(pipe.vae.parameters())
    encoded = pipe.vae.encode(pixels.to(parameter.device, parameter.dtype))
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


def _stage(profile: ModelProfile, sigmas: Sequence[float], first: int) -> Stage:
    return plan_stage(sigmas, first=first, look_sigma=profile.sigma, stage_end=profile.stage_end)


@contextmanager
def _quiet(pipe: Any) -> Iterator[None]:
    before = getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(disable=True)
    try:
        yield
    finally:
        if before is None:
            del pipe._progress_bar_config
        else:
            pipe._progress_bar_config = before
