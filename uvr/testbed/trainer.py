"""Model, loss and one training step: flow matching on text-to-image and edits in turn."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from tokenizers import Tokenizer
from torch import Tensor, nn

from uvr.families.flux_pictures import image_ids
from uvr.testbed.model import TRANSFORMER, build_text_encoders, load_weights
from uvr.testbed.muon import Muon
from uvr.testbed.pools import Pool


@dataclass(frozen=True)
class Preset:
    """How long to train, and on how much; the model is the same in every preset."""

    steps: int
    batch: int
    pool: int
    muon_lr: float = 0.01
    adam_lr: float = 2e-3
    ema: float = 0.998
    warmup: int = 50
    decay: float = 0.4  # the share of the steps over which the learning rate falls to zero
    t2i_share: float = 0.8  # text-to-image is the harder half


PRESETS = {
    "smoke": Preset(steps=4, batch=4, pool=16),
    "cpu": Preset(steps=5000, batch=48, pool=16000),
    # On from trained weights (--init). `settle` follows with --mix: half way back to those weights
    # and a low rate keep what they did well, and most of what was learnt since.
    "further": Preset(
        steps=600,
        batch=48,
        pool=5000,
        muon_lr=0.006,
        adam_lr=1e-3,
        ema=0.995,
        decay=0.8,
        t2i_share=0.72,
    ),
    "settle": Preset(
        steps=480,
        batch=48,
        pool=5000,
        muon_lr=0.002,
        adam_lr=4e-4,
        ema=0.99,
        decay=0.25,
        t2i_share=0.72,
    ),
    "gpu": Preset(steps=40000, batch=256, pool=120000, ema=0.9995),
}

# The parts of both text encoders that have a row a word.
EMBEDDINGS = (
    "embeddings.token_embedding.weight", "text_model.embeddings.token_embedding.weight",
    "shared.weight", "encoder.embed_tokens.weight",
)  # fmt: skip


class Testbed(nn.Module):
    """The trainable parts: the transformer and both text encoders."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.transformer = FluxTransformer2DModel(**TRANSFORMER)
        self.text_encoder, self.text_encoder_2 = build_text_encoders(tokens)

    def forward(
        self, hidden_states: Tensor, token_ids: Tensor, sigma: Tensor, img_ids: Tensor
    ) -> Tensor:
        """The velocity at (batch, tokens, 64) noisy latents, exactly as the pipelines call it."""
        pooled = self.text_encoder(token_ids).pooler_output
        embeds = self.text_encoder_2(token_ids).last_hidden_state
        velocity: Tensor = self.transformer(
            hidden_states=hidden_states,
            timestep=sigma,
            pooled_projections=pooled,
            encoder_hidden_states=embeds,
            txt_ids=torch.zeros(embeds.shape[1], 3, device=embeds.device),
            img_ids=img_ids,
            return_dict=False,
        )[0]
        return velocity


def position_ids(references: int) -> Tensor:
    """`img_ids` of an 8 x 8 output grid and `references` reference grids, (tokens, 3)."""
    return torch.cat([image_ids(8, 8, picture) for picture in range(references + 1)])


def random_sigmas(count: int) -> Tensor:
    """Noise levels to train at, (count,): half uniform, a quarter each logit-normal and low.

    The first steps decide what is where, and a purely logit-normal draw visits them too seldom at
    this size; the last ones decide how sharp it is.
    """
    sigma = torch.rand(count)
    quarter = count // 4
    sigma[:quarter] = torch.sigmoid(torch.randn(quarter) + 0.3)
    sigma[quarter : 2 * quarter] = torch.sigmoid(torch.randn(quarter) - 0.8)
    return sigma


def flow_loss(model: Testbed, pool: Pool, index: Tensor) -> Tensor:
    """Flow-matching loss on the examples `index`."""
    x0 = pool.latents[index]
    noise = torch.randn_like(x0)
    sigma = random_sigmas(len(index)).to(x0.device)
    level = sigma[:, None, None]
    hidden_states = (1 - level) * x0 + level * noise
    references = 0
    if pool.sources is not None:
        hidden_states = torch.cat([hidden_states, pool.sources[index]], dim=1)
        references = 1
    ids = position_ids(references).to(x0.device)
    velocity: Tensor = model(hidden_states, pool.token_ids[index], sigma, ids)[:, :64]
    return (velocity.float() - (noise - x0)).square().mean()


def build_optimizers(model: nn.Module, preset: Preset) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the transformer's blocks, AdamW for everything else."""
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        blocks = "transformer_blocks" in name and "norm" not in name
        (matrices if blocks and parameter.ndim == 2 else rest).append(parameter)
    return [
        Muon(matrices, lr=preset.muon_lr, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=preset.adam_lr, betas=(0.9, 0.98), weight_decay=0.01),
    ]


def learning_rate(step: int, preset: Preset) -> float:
    """Warm up, hold, then fall linearly: a factor in [0, 1]."""
    remaining = (preset.steps - step) / (preset.steps * preset.decay)
    return min(1.0, (step + 1) / preset.warmup, remaining)


def by_word(
    old: Tensor, old_words: Mapping[str, int], new: Tensor, new_words: Mapping[str, int]
) -> Tensor:
    """An embedding, (words, dim), with the old rows of the words that it had and new ones else."""
    rows = new.clone()
    for word, place in new_words.items():
        if word in old_words:
            rows[place] = old[old_words[word]]
    return rows


class Trainer:
    """Model, average, optimizers and step: all that a checkpoint holds."""

    def __init__(self, preset: Preset, tokens: int, seed: int, device: str) -> None:
        torch.manual_seed(seed)
        self.preset, self.step, self.seed = preset, 0, seed
        self.model = Testbed(tokens).to(device)
        self.average = copy.deepcopy(self.model).requires_grad_(requires_grad=False)
        self.optimizers = build_optimizers(self.model, preset)
        self.device = device
        self.init: str | None = None

    def save(self, path: Path) -> None:
        """Write a checkpoint; the old one stays until the new one is whole."""
        state = {
            "step": self.step,
            "init": self.init,
            "model": self.model.state_dict(),
            "average": self.average.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
        }
        torch.save(state, path.with_suffix(".tmp"))
        path.with_suffix(".tmp").replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.step, self.init = state["step"], state["init"]
        self.model.load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)

    def start_from(self, folder: Path, tokenizer: Any) -> None:
        """Take exported weights as the start of a new run; embeddings go by word."""
        words = Tokenizer.from_str((folder / "tokenizer.json").read_text()).get_vocab()
        for name in ("transformer", "text_encoder", "text_encoder_2"):
            module = getattr(self.model, name)
            own = module.state_dict()
            tensors = load_weights((folder / f"{name}.safetensors").read_bytes())
            for key, tensor in tensors.items():
                if tensor.shape != own[key].shape or key in EMBEDDINGS:
                    tensors[key] = by_word(tensor, words, own[key], tokenizer.get_vocab())
            module.load_state_dict(tensors)
        self.average.load_state_dict(self.model.state_dict())
        self.init = json.loads((folder / "config.json").read_text())["revision"]

    @torch.no_grad()
    def mix(self, folder: Path, tokenizer: Any, share: float) -> None:
        """Go on from the average of exported weights (`share` of them) and this run's average."""
        other = Trainer(self.preset, len(tokenizer), self.seed, self.device)
        other.start_from(folder, tokenizer)
        torch._foreach_lerp_(
            list(self.average.parameters()), list(other.average.parameters()), share
        )
        self.model.load_state_dict(self.average.state_dict())

    def run_step(self, pools: list[Pool]) -> tuple[int, float]:
        """One optimizer step; returns which pool it was and the loss."""
        # A step's draws depend on the seed and the step alone, so a resumed run is the same run.
        torch.manual_seed(self.seed * 1_000_003 + self.step)
        which = int(torch.rand(()).item() > self.preset.t2i_share)
        pool = pools[which]
        index = torch.randint(len(pool.latents), (self.preset.batch,), device=self.device)
        factor = learning_rate(self.step, self.preset)
        for optimizer, lr in zip(
            self.optimizers, (self.preset.muon_lr, self.preset.adam_lr), strict=True
        ):
            for group in optimizer.param_groups:
                group["lr"] = lr * factor
            optimizer.zero_grad(set_to_none=True)
        # Only where it pays: without bfloat16 units a CPU is four times slower in it.
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.device != "cpu"):
            loss = flow_loss(self.model, pool, index)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.step += 1
        keep = min(self.preset.ema, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.average.parameters()), list(self.model.parameters()), 1 - keep
            )
        return which, loss.item()
