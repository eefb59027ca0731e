"""Train the miniature FLUX: `python -m uvr.testbed.train --preset cpu --out FOLDER`.

1. Render pools of scenes and edit triples (`variety`) and encode them once.
2. Flow matching on both tasks in turn: velocity of `noise - latents` at random sigmas.
   Muon on the block matrices, AdamW on the rest, an exponential average of the weights.
3. A checkpoint every so often (a later run with the same --out resumes from it), with a sample
   sheet; `--export` writes the averaged weights as the package's own.
"""

import argparse
import copy
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny, FluxPipeline, FluxTransformer2DModel
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from uvr.capture import image_ids
from uvr.testbed import MAX_SEQUENCE_LENGTH, STEPS, scenes, variety
from uvr.testbed.model import (
    TRANSFORMER,
    VAE,
    build_pipeline,
    build_text_encoders,
    build_tokenizer,
    load_weights,
)
from uvr.testbed.muon import Muon


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
    "further": Preset(  # on from trained weights (--init), for as many steps as there is time for
        steps=420,
        batch=48,
        pool=4000,
        muon_lr=0.006,
        adam_lr=1e-3,
        ema=0.995,
        decay=0.8,
        t2i_share=0.72,
    ),
    "gpu": Preset(steps=40000, batch=256, pool=120000, ema=0.9995),
}


# The parts of both text encoders that have a row a word.
EMBEDDINGS = (
    "embeddings.token_embedding.weight", "text_model.embeddings.token_embedding.weight",
    "shared.weight", "encoder.embed_tokens.weight",
)  # fmt: skip


@dataclass(frozen=True)
class Pool:
    """Encoded examples: target latents, token ids, and for edits the source latents."""

    latents: Tensor
    token_ids: Tensor
    sources: Tensor | None


def vocabulary() -> list[str]:
    """Every word that a caption or an instruction can hold."""
    rng = np.random.default_rng(0)
    texts = [f"{scenes.noun(t)} {' '.join(scenes.SYNONYMS.get(t, ()))}" for t in scenes.THINGS]
    texts += [*scenes.BACKGROUNDS, *scenes.WHERE.values(), ",", *variety.vocabulary()]
    texts += [scenes.caption(scenes.random_scene(rng)) for _ in range(50)]
    texts += [scenes.random_edit(rng).instruction for _ in range(200)]
    return " ".join(texts).replace(",", " , ").split()


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


@torch.no_grad()
def encode(vae: AutoencoderTiny, pictures: list[Image.Image], device: str) -> Tensor:
    """Packed latents of pictures, (count, 64, 64)."""
    packed = []
    for start in range(0, len(pictures), 256):
        stack = np.stack([np.asarray(p) for p in pictures[start : start + 256]])
        x = torch.from_numpy(stack).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
        z = vae.encode(x).latents
        packed.append(FluxPipeline._pack_latents(z, len(z), 16, 16, 16))
    return torch.cat(packed)


def tokenize(tokenizer: Any, texts: list[str]) -> Tensor:
    """Token ids, (count, MAX_SEQUENCE_LENGTH)."""
    batch = tokenizer(
        texts, padding="max_length", max_length=MAX_SEQUENCE_LENGTH, return_tensors="pt"
    )
    ids: Tensor = batch.input_ids
    if ids.shape[1] > MAX_SEQUENCE_LENGTH:
        raise ValueError(f"A text has {ids.shape[1]} tokens; {MAX_SEQUENCE_LENGTH} fit.")
    return ids


def make_pools(preset: Preset, vae: AutoencoderTiny, tokenizer: Any, device: str) -> list[Pool]:
    """The text-to-image pool and the edit pool."""
    rng = np.random.default_rng(1)
    examples = [variety.draw_example(rng) for _ in range(preset.pool)]
    edits = [variety.draw_edit(rng) for _ in range(preset.pool)]
    captions = tokenize(tokenizer, [caption for _, caption in examples])
    instructions = tokenize(tokenizer, [edit.instruction for edit in edits])
    targets = encode(vae, [scenes.render(scene)[0] for scene, _ in examples], device)
    after = encode(vae, [scenes.render(edit.target)[0] for edit in edits], device)
    before = encode(vae, [scenes.render(edit.source)[0] for edit in edits], device)
    return [
        Pool(targets, captions.to(device), None),
        Pool(after, instructions.to(device), before),
    ]


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


def sample_sheet(trainer: Trainer, vae: AutoencoderTiny, tokenizer: Any, path: Path) -> None:
    """Fixed prompts and edits drawn by the averaged weights, as one picture."""
    rng = np.random.default_rng(2)
    average = trainer.average.eval()
    encoders = (average.text_encoder, average.text_encoder_2)
    drawn = [scenes.random_scene(rng, count=2) for _ in range(16)]
    call = {"height": 64, "width": 64, "num_inference_steps": STEPS,
            "max_sequence_length": MAX_SEQUENCE_LENGTH,
            "generator": torch.Generator().manual_seed(0)}  # fmt: skip
    t2i = build_pipeline("t2i", tokenizer, encoders, vae, average.transformer)
    rows = [[scenes.render(scene)[0] for scene in drawn]]
    rows.append(t2i([scenes.caption(scene) for scene in drawn], **call).images)
    edits = [scenes.random_edit(rng) for _ in range(16)]
    edit = build_pipeline("edit", tokenizer, encoders, vae, average.transformer)
    sources = [scenes.render(e.source)[0] for e in edits]
    rows += [sources, [scenes.render(e.target)[0] for e in edits]]
    rows.append(
        edit(image=sources, prompt=[e.instruction for e in edits],
             max_area=64 * 64, _auto_resize=False, **call).images
    )  # fmt: skip
    sheet = Image.new("RGB", (64 * 16, 64 * len(rows)))
    for y, row in enumerate(rows):
        for x, picture in enumerate(row):
            sheet.paste(picture, (64 * x, 64 * y))
    sheet.save(path)


def export(trainer: Trainer, vae: AutoencoderTiny, tokenizer: Any, folder: Path) -> None:
    """Write the averaged weights (float16), the tokenizer and the configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    average = trainer.average
    parts = {"transformer": average.transformer, "text_encoder": average.text_encoder,
             "text_encoder_2": average.text_encoder_2, "vae": vae}  # fmt: skip
    digest = hashlib.sha256()
    for name, module in parts.items():
        tensors = {k: v.half().cpu().contiguous() for k, v in module.state_dict().items()}
        # T5 ties its embedding under two names; safetensors wants each storage once.
        tensors.pop("encoder.embed_tokens.weight", None)
        for key in sorted(tensors):
            digest.update(key.encode() + tensors[key].numpy().tobytes())
        save_file(tensors, folder / f"{name}.safetensors")
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(pretty=False))
    card = {"revision": digest.hexdigest()[:16], "steps": trainer.step, "seed": trainer.seed}
    if trainer.init:  # steps count from these weights
        card["init"] = trainer.init
    (folder / "config.json").write_text(json.dumps(card, indent=1) + "\n")


def train(options: argparse.Namespace) -> None:
    """Train as the options say, resuming from the checkpoint in `options.out` if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    preset = PRESETS[options.preset]
    if options.steps:
        preset = replace(preset, steps=options.steps)
    options.out.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderTiny(**VAE)
    vae.load_state_dict({k: v.float() for k, v in load_file(options.vae).items()})
    vae.eval().requires_grad_(requires_grad=False).to(device)
    tokenizer = build_tokenizer(vocabulary())
    trainer = Trainer(preset, len(tokenizer), options.seed, device)
    checkpoint = options.out / "checkpoint.pt"
    if checkpoint.exists():
        trainer.load(checkpoint)
    elif options.init:
        trainer.start_from(options.init, tokenizer)
    print(  # noqa: T201 (progress)
        f"{sum(p.numel() for p in trainer.model.parameters()) / 1e6:.2f} M parameters, "
        f"step {trainer.step} of {preset.steps} on {device}",
        flush=True,
    )
    pools = make_pools(preset, vae, tokenizer, device) if trainer.step < preset.steps else []
    losses: list[list[float]] = [[], []]
    start = time.time()
    while trainer.step < preset.steps:
        which, loss = trainer.run_step(pools)
        losses[which].append(loss)
        if trainer.step % 50 == 0:
            t2i, edit = (np.mean(values or [np.nan]) for values in losses)
            print(  # noqa: T201 (progress)
                f"step {trainer.step} t2i {t2i:.4f} edit {edit:.4f} {time.time() - start:.0f} s",
                flush=True,
            )
            losses = [[], []]
        if trainer.step % options.every == 0 or trainer.step == preset.steps:
            trainer.save(checkpoint)
            sample_sheet(trainer, vae, tokenizer, options.out / "samples.png")
    if options.export:
        export(trainer, vae, tokenizer, options.export)


def main() -> None:
    """Parse the command line and train."""
    package = Path(__file__).parent / "weights"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument("--out", type=Path, default=Path("checkpoints"))
    parser.add_argument("--vae", type=Path, default=package / "vae.safetensors")
    parser.add_argument("--init", type=Path, help="start from the exported weights in this folder")
    parser.add_argument(
        "--steps", type=int, help="instead of the preset's; a resumed run may change it"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=300, help="steps between checkpoints")
    parser.add_argument("--export", type=Path, help="write the weights here when done")
    train(parser.parse_args())


if __name__ == "__main__":
    main()
