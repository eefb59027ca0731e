"""FLUX.1: text-to-image and Kontext editing, as the stock diffusers pipelines call them.

1. The joint sequence is ``[text, output, references...]``. ``img_ids`` carries the grids: column 0
   is 0 for output tokens and >= 1 for reference tokens, columns 1 and 2 are row and column.
2. ``timestep`` is passed as the noise level, t / 1000. True CFG is a second call, after the first.
3. A token is a patch of 2 x 2 latent pixels (``uvr.families.flux_pictures``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from concepts.errors import MismatchError, UVRError
from uvr.families.attention import AttentionState
from uvr.families.family import Family, Rows
from uvr.families.flux_pictures import noised_call
from uvr.families.flux_processor import flux_layers, regulated_flux_attention
from uvr.method.rewind import Call
from uvr.method.tokens import Grid, TokenLayout
from uvr.profiles import PROFILES, ModelProfile
from uvr.sample import Sample

_FULL_SIZE = (19, 38)  # double and single blocks of every FLUX.1 model


class FluxFamily(Family):
    """FLUX.1-dev, -schnell and -Kontext-dev, and the testbed, a miniature of both kinds."""

    name = "FLUX"

    def recognises(self, pipe: Any) -> bool:
        transformer = getattr(pipe, "transformer", None)
        config = getattr(transformer, "config", {})
        # Its relatives have the same blocks: Chroma lacks one of the two, Bria takes no processors.
        named = "guidance_embeds" in config and "pooled_projection_dim" in config
        return named and hasattr(transformer, "attn_processors")

    def profile(self, pipe: Any) -> ModelProfile:
        """Find a profile by the pipeline's class, its name and its transformer's structure.

        A model says its own name with the key ``_uvr_model`` in its transformer's config; otherwise
        the path it was loaded from, then its number of blocks, decide.

        Raises:
            MismatchError: There is none for this model and task.
        """
        task = "edit" if "Kontext" in type(pipe).__name__ else "t2i"
        return named_profile(_model_name(pipe, task), task)

    def layers(self, transformer: Any) -> dict[str, int]:
        return flux_layers(transformer)

    def regulated_attention(
        self, transformer: Any, state: AttentionState
    ) -> AbstractContextManager[None]:
        return regulated_flux_attention(transformer, state)

    def layout(self, call: Call) -> TokenLayout:
        return read_layout(call["encoder_hidden_states"].shape[1], call["img_ids"])

    def num_text(self, call: Call) -> int:
        return int(call["encoder_hidden_states"].shape[1])

    def sigma(self, call: Call) -> Tensor:
        sigma: Tensor = call["timestep"]
        return sigma

    def rows(self, pipe: Any, call: Call) -> Rows:
        return Rows(len(call["hidden_states"]))

    def latents(self, call: Call, layout: TokenLayout) -> Tensor:
        hidden_states: Tensor = call["hidden_states"]
        return hidden_states[:, : layout.num_output]

    def with_latents(self, call: Call, latents: Tensor) -> dict[str, Any]:
        hidden_states: Tensor = call["hidden_states"]
        references = hidden_states[:, latents.shape[1] :]
        joined = torch.cat([latents.to(hidden_states.dtype), references], dim=1)
        return {**call, "hidden_states": joined}

    def velocity(self, output: Any, layout: TokenLayout) -> Tensor:
        velocity: Tensor = output[0]
        return velocity[:, : layout.num_output]

    def with_velocity(self, output: Any, velocity: Tensor) -> Any:
        references = output[0][:, velocity.shape[1] :]
        joined = torch.cat([velocity, references], dim=1)
        if isinstance(output, tuple):
            return (joined, *output[1:])
        return type(output)(sample=joined)

    def changes_weights(self, transformer: Any, call: Call) -> str | None:
        scale = (call.get("joint_attention_kwargs") or {}).get("scale", 1.0)
        if scale == 1.0 or not hasattr(transformer, "peft_config"):
            return None
        return f"joint_attention_kwargs scales LoRA by {scale}"

    def fixed_to_its_step(self, call: Call) -> str | None:
        if call.get("controlnet_block_samples") is not None:
            return "ControlNet residuals belong to the steps as they ran"
        return None

    def patch_size(self, pipe: Any) -> int:
        return int(pipe.vae_scale_factor) * 2

    def sigmas(self, pipe: Any, profile: ModelProfile) -> list[float]:
        scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config)
        height, width = profile.size
        patch = self.patch_size(pipe)
        mu = self.shift((height // patch) * (width // patch), profile.steps, scheduler.config)
        sigmas = np.linspace(1.0, 1 / profile.steps, profile.steps)
        scheduler.set_timesteps(sigmas=sigmas.tolist(), mu=mu)
        return [float(sigma) for sigma in scheduler.sigmas.tolist()[:-1]]

    def shift(self, num_tokens: int, steps: int, config: Any) -> float:
        """Shift of the schedule that the pipelines compute, from the scheduler's config."""
        low, high = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
        base, top = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
        return float(base + (num_tokens - low) * (top - base) / (high - low))

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        return noised_call(pipe, profile, samples, sigma, generator)

    def call_arguments(self, profile: ModelProfile, request: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of a pipeline call: the request's, and the profile's for the rest.

        ``FluxKontextPipeline`` takes only the aspect ratio from ``height`` and ``width`` and scales
        it to ``max_area``, which therefore follows them. A model that does not choose the size of
        its source picture itself (``_auto_resize``) gets it in the size of its output.
        """
        arguments = {**profile.call, **request}
        if profile.task != "edit":
            return arguments
        height, width = arguments["height"], arguments["width"]
        if "max_area" not in request:
            arguments["max_area"] = height * width
        picture = arguments.get("image")
        if not arguments.get("_auto_resize", True) and isinstance(picture, Image.Image):
            arguments["image"] = picture.resize((width, height))
        return arguments


def read_layout(num_text: int, img_ids: Tensor) -> TokenLayout:
    """Read the layout from what a FLUX pipeline passes to its transformer.

    Args:
        num_text: Number of text tokens, which come first.
        img_ids: Position of each image token, (tokens, 3) or, in older pipelines,
            (batch, tokens, 3).

    Raises:
        UVRError: The output tokens are not the first run, or a run is not a full grid.
    """
    ids = (img_ids[0] if img_ids.ndim == 3 else img_ids).detach().to("cpu", torch.float32)
    runs = _runs(ids)
    kinds = [float(ids[run.start, 0]) for run in runs]
    if not runs or kinds[0] != 0 or any(kind == 0 for kind in kinds[1:]):
        raise UVRError(
            "img_ids does not start with one run of output tokens (column 0 equal to 0): "
            f"found runs with column 0 = {kinds}. This pipeline's token order is not supported."
        )
    grids = [_grid(ids[run]) for run in runs]
    spans = [slice(num_text + run.start, num_text + run.stop) for run in runs]
    return TokenLayout(slice(0, num_text), spans[0], tuple(spans[1:]), grids[0], tuple(grids[1:]))


def _runs(ids: Tensor) -> list[slice]:
    """Split tokens where the picture index changes or the row number falls back."""
    if len(ids) == 0:
        return []
    new_picture = ids[1:, 0] != ids[:-1, 0]
    row_fell = ids[1:, 1] < ids[:-1, 1]
    cuts = (torch.nonzero(new_picture | row_fell).flatten() + 1).tolist()
    edges = [0, *cuts, len(ids)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _grid(ids: Tensor) -> Grid:
    rows, columns = (len(set(ids[:, axis].tolist())) for axis in (1, 2))
    if rows * columns != len(ids):
        raise UVRError(
            f"Image tokens do not form a grid: {len(ids)} tokens over {rows} rows and "
            f"{columns} columns."
        )
    return rows, columns


def said_name(pipe: Any) -> str | None:
    """The name that a model has in its config, or that is in the path it was loaded from."""
    config = pipe.transformer.config
    if "_uvr_model" in config:
        return str(config["_uvr_model"])
    paths = (getattr(pipe, "name_or_path", None), config.get("_name_or_path"))
    for path in (str(path).lower() for path in paths if path):
        # A longer name may begin with a shorter one.
        for model in sorted({profile.model for profile in PROFILES.values()}, key=len)[::-1]:
            if model in path:
                return model
    return None


def named_profile(model: str | None, task: str) -> ModelProfile:
    """Find the profile of a model and task.

    Raises:
        MismatchError: There is none.
    """
    for profile in PROFILES.values():
        if (profile.model, profile.task) == (model, task):
            return profile
    raise MismatchError(
        f"No profile for model {model or 'of unknown name'!r} and task {task!r}. "
        f"Known: {', '.join(PROFILES)}. Pass profile=... to use one of them."
    )


def _model_name(pipe: Any, task: str) -> str | None:
    if name := said_name(pipe):
        return name
    config = pipe.transformer.config
    if (config.get("num_layers"), config.get("num_single_layers")) != _FULL_SIZE:
        return None
    if task == "edit":
        return "flux.1-kontext-dev"
    return "flux.1-dev" if config.get("guidance_embeds") else "flux.1-schnell"
