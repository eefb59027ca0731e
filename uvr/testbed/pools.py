"""What the testbed's model is trained on: examples drawn, put into tokens and encoded once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny, FluxPipeline
from PIL import Image
from torch import Tensor

from uvr.testbed import MAX_SEQUENCE_LENGTH, scenes, variety


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


def make_pools(size: int, vae: AutoencoderTiny, tokenizer: Any, device: str) -> list[Pool]:
    """The text-to-image pool and the edit pool, `size` examples each."""
    rng = np.random.default_rng(1)
    examples = [variety.draw_example(rng) for _ in range(size)]
    edits = [variety.draw_edit(rng) for _ in range(size)]
    captions = tokenize(tokenizer, [caption for _, caption in examples])
    instructions = tokenize(tokenizer, [edit.instruction for edit in edits])
    targets = encode(vae, [scenes.render(scene)[0] for scene, _ in examples], device)
    after = encode(vae, [scenes.render(edit.target)[0] for edit in edits], device)
    before = encode(vae, [scenes.render(edit.source)[0] for edit in edits], device)
    return [
        Pool(targets, captions.to(device), None),
        Pool(after, instructions.to(device), before),
    ]
