"""A second family of models, as unlike FLUX as the method allows, in one file.

Its transformer names its arguments its own way and takes some by place, has the picture before the
text, counts time from 0 to 1000, predicts the velocity with the other sign in a dictionary, keeps
its attention in a function of the layer, and gets both passes of true CFG in one call, the
unconditional one first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from concepts.errors import MismatchError
from uvr.families.attention import AttentionState, RegulatedAttention
from uvr.families.family import Family, Rows
from uvr.method.presets import ModulatePreset, RestrictPreset
from uvr.method.rewind import Call
from uvr.method.tokens import TokenLayout
from uvr.profiles import ModelProfile
from uvr.sample import Sample

WIDTH, HEADS, PATCH, WORDS = 24, 2, 4, 6
CALL = {"height": 24, "width": 32, "num_inference_steps": 5}

T2I = ModelProfile(
    name="toy-t2i",
    model="toy",
    task="t2i",
    taps=("layers.0", "layers.2"),
    sigma=0.7,
    stage_end=0.3,
    restrict=RestrictPreset(),
    call=CALL,
)
EDIT = ModelProfile(
    name="toy-edit",
    model="toy",
    task="edit",
    taps=("layers.1",),
    sigma=0.7,
    stage_end=0.3,
    modulate=ModulatePreset(),
    call=CALL,
)


def plain_attention(layer: ToyLayer, tokens: Tensor) -> Tensor:
    return attention_of(layer.mix(tokens)).flatten(2)


def attention_of(mixed: Tensor) -> Tensor:
    return scaled_dot_product(*projections(mixed), None)


def projections(mixed: Tensor) -> list[Tensor]:
    return [part.unflatten(-1, (HEADS, -1)) for part in mixed.chunk(3, dim=-1)]


def scaled_dot_product(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2)


class ToyLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.core: Any = plain_attention

    def forward(self, tokens: Tensor) -> Tensor:
        mixed: Tensor = self.out(self.core(self, F.layer_norm(tokens, (WIDTH,))))
        return tokens + torch.tanh(mixed)


class ToyTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.config: dict[str, Any] = {}
        self.picture = nn.Linear(3 * PATCH * PATCH, WIDTH)
        self.words = nn.Embedding(256, WIDTH)
        self.layers = nn.ModuleList(ToyLayer() for _ in range(3))
        self.head = nn.Linear(WIDTH, 3 * PATCH * PATCH)
        with torch.no_grad():
            for parameter in self.layers.parameters():
                parameter.mul_(3.0)

    def forward(
        self, canvas: Tensor, words: Tensor, time: Tensor, shapes: Any, originals: Any = ()
    ) -> dict[str, Tensor]:
        """Tokens in the order picture, originals, words; ``shapes`` are their rows and columns."""
        pictures = [self.picture(part) + _places(rows, columns) + shift
                    for shift, (part, (rows, columns))
                    in enumerate(zip((canvas, *originals), shapes, strict=True))]  # fmt: skip
        tokens = torch.cat([*pictures, self.words(words)], dim=1) + time[:, None, None] / 1000
        for layer in self.layers:
            tokens = layer(tokens)
        return {"opposite": -self.head(tokens[:, : canvas.shape[1]])}


class ToyPipeline:
    def __init__(self) -> None:
        self.transformer = ToyTransformer().eval()
        self.scheduler = FlowMatchEulerDiscreteScheduler()
        self.guidance = 1.0

    def set_progress_bar_config(self, **options: Any) -> None:
        self._progress_bar_config = options

    def encode(self, pictures: Sequence[Image.Image], height: int, width: int) -> Tensor:
        resized = [np.asarray(picture.resize((width, height))) for picture in pictures]
        pixels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).float() / 127.5 - 1
        return F.pixel_unshuffle(pixels, PATCH).flatten(2).transpose(1, 2)

    @torch.no_grad()
    def __call__(
        self,
        prompt: Sequence[str],
        *,
        generator: Sequence[torch.Generator],
        height: int,
        width: int,
        num_inference_steps: int,
        original: Sequence[Image.Image] = (),
        guidance: float = 1.0,
        output_type: str = "latent",
    ) -> Tensor:
        grid = (height // PATCH, width // PATCH)
        size = (1, grid[0] * grid[1], 3 * PATCH * PATCH)
        latents = torch.cat([torch.randn(size, generator=each) for each in generator])
        originals = [self.encode(original, height, width)] if original else []
        self.guidance, twice = guidance, guidance > 1
        words = word_numbers([*[""] * (len(prompt) * twice), *prompt])
        self.scheduler.set_timesteps(num_inference_steps)
        for time in self.scheduler.timesteps:
            canvas, *before = (
                torch.cat([part, part]) if twice else part for part in (latents, *originals)
            )
            shapes = [grid] * (1 + len(before))
            answer = self.transformer(
                canvas, words, time.expand(len(canvas)), shapes=shapes, originals=before
            )
            velocity = -answer["opposite"]
            if twice:
                without, with_prompt = velocity.chunk(2)
                velocity = without + guidance * (with_prompt - without)
            latents = self.scheduler.step(velocity, time, latents, return_dict=False)[0]
        return latents


class RegulatedToyAttention(RegulatedAttention):
    def __call__(self, layer: ToyLayer, tokens: Tensor) -> Tensor:
        query, key, value = projections(layer.mix(tokens))
        return self.regulate(self.attend(query, key, value, None, scaled_dot_product).flatten(2))


class ToyFamily(Family):
    name = "toy"

    def recognises(self, pipe: Any) -> bool:
        return isinstance(pipe, ToyPipeline)

    def profile(self, pipe: Any) -> ModelProfile:
        return T2I

    def layers(self, transformer: Any) -> Mapping[str, int]:
        return {f"layers.{place}": WIDTH for place in range(len(transformer.layers))}

    @contextmanager
    def regulated_attention(self, transformer: Any, state: AttentionState) -> Iterator[None]:
        if any(layer.core is not plain_attention for layer in transformer.layers):
            raise MismatchError("already attached")
        for place, layer in enumerate(transformer.layers):
            layer.core = RegulatedToyAttention(f"layers.{place}", place, state)
        try:
            yield
        finally:
            for layer in transformer.layers:
                layer.core = plain_attention

    def layout(self, call: Call) -> TokenLayout:
        ends = np.cumsum([0, *(rows * columns for rows, columns in call["shapes"])]).tolist()
        output, *originals = (slice(start, end) for start, end in pairwise(ends))
        text = slice(ends[-1], ends[-1] + self.num_text(call))
        grid, *grids = call["shapes"]
        return TokenLayout(text, output, tuple(originals), grid, tuple(grids))

    def num_text(self, call: Call) -> int:
        return int(call["words"].shape[1])

    def sigma(self, call: Call) -> Tensor:
        sigma: Tensor = call["time"] / 1000
        return sigma

    def rows(self, pipe: Any, call: Call) -> Rows:
        passes = 2 if pipe.guidance > 1 else 1
        return Rows(len(call["canvas"]) // passes, passes, conditional=passes - 1)

    def latents(self, call: Call, layout: TokenLayout) -> Tensor:
        canvas: Tensor = call["canvas"]
        return canvas

    def with_latents(self, call: Call, latents: Tensor) -> dict[str, Any]:
        return {**call, "canvas": latents}

    def velocity(self, output: Any, layout: TokenLayout) -> Tensor:
        opposite: Tensor = output["opposite"]
        return -opposite

    def with_velocity(self, output: Any, velocity: Tensor) -> Any:
        return {"opposite": -velocity}

    def patch_size(self, pipe: Any) -> int:
        return PATCH

    def sigmas(self, pipe: Any, profile: ModelProfile) -> list[float]:
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(profile.steps)
        return [float(sigma) for sigma in scheduler.sigmas.tolist()[:-1]]

    def noise_size(self, pipe: Any, profile: ModelProfile) -> int:
        height, width = profile.size
        return 3 * (height // PATCH * PATCH) * (width // PATCH * PATCH)

    def noised_call(
        self,
        pipe: Any,
        profile: ModelProfile,
        samples: Sequence[Sample],
        sigma: float,
        generator: torch.Generator,
    ) -> dict[str, Any]:
        height, width = profile.size
        clean = pipe.encode([sample.image for sample in samples], height, width)
        sources = [sample.source or sample.image for sample in samples]
        originals = [pipe.encode(sources, height, width)] if profile.task == "edit" else []
        return {
            "canvas": (1 - sigma) * clean + sigma * torch.randn(clean.shape, generator=generator),
            "words": word_numbers([sample.prompt for sample in samples]),
            "time": torch.full((len(samples),), 1000 * sigma),
            "shapes": [(height // PATCH, width // PATCH)] * (1 + len(originals)),
            "originals": originals,
        }


def word_numbers(prompts: Sequence[str]) -> Tensor:
    rows = [[sum(word.encode()) % 256 for word in prompt.split()][:WORDS] for prompt in prompts]
    return torch.tensor([[*row, *[0] * (WORDS - len(row))] for row in rows])


def _places(rows: int, columns: int) -> Tensor:
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    angles = torch.stack([row.flatten(), column.flatten()]) / max(rows, columns)
    waves = angles[:, :, None] * torch.arange(1, WIDTH // 2 + 1)
    return torch.cat([waves[0].sin(), waves[1].cos()], dim=-1)
