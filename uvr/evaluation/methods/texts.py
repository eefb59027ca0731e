"""Concepts in words, and what a pipeline's T5 makes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concepts.definition import ConceptDefinition
from uvr.evaluation.setting import Setting
from uvr.profiles import ModelProfile


def name_of(definition: ConceptDefinition) -> str:
    """What prompts call a concept: its name in lower case, without what is in brackets."""
    return re.sub(r"\(.*?\)", "", definition.name).strip().lower()


def names_of(setting: Setting) -> str:
    """The names of all concepts, as a negative prompt says them."""
    return ", ".join(name_of(definition) for definition in setting.definitions)


def text_length(profile: ModelProfile) -> int:
    """Tokens of a prompt with padding, as the profile has its pipeline called."""
    return int(profile.call.get("max_sequence_length", 512))


@dataclass(frozen=True)
class Encoded:
    """Texts as T5 encodes them for FLUX, which lets padding be attended to.

    Attributes:
        ids: (texts, tokens).
        said: Which tokens are words, not padding and not the end of the text, (texts, tokens).
        embeds: (texts, tokens, dim).
    """

    ids: Tensor
    said: Tensor
    embeds: Tensor

    @property
    def pooled(self) -> Tensor:
        """Mean embedding of each text's words, (texts, dim); zeros for one without words."""
        said = self.said[:, :, None].to(self.embeds.dtype)
        return (self.embeds * said).sum(dim=1) / said.sum(dim=1).clamp(min=1)


def token_ids(pipe: Any, texts: Sequence[str], length: int) -> tuple[Tensor, Tensor]:
    """Tokens of texts and which of them are words, (texts, tokens) each."""
    tokenizer = pipe.tokenizer_2
    found = tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    ids: Tensor = found.input_ids
    return ids, found.attention_mask.bool() & (ids != tokenizer.eos_token_id)


@torch.no_grad()
def encode_ids(pipe: Any, ids: Tensor) -> Tensor:
    """Embeddings of tokens as the pipelines make them, (texts, tokens, dim)."""
    embeds: Tensor = pipe.text_encoder_2(ids.to(pipe.text_encoder_2.device))[0]
    return embeds


def encode(pipe: Any, texts: Sequence[str], length: int) -> Encoded:
    """Encode texts; ``length`` is that of the prompts that they are compared with."""
    ids, said = token_ids(pipe, texts, length)
    embeds = encode_ids(pipe, ids)
    return Encoded(ids, said.to(embeds.device), embeds)


def name_tokens(pipe: Any, definition: ConceptDefinition, length: int) -> Tensor:
    """Embeddings of the last token of a concept's name, alone and in its prompts, (texts, dim).

    Prompts that do not say the name as it is are left out.
    """
    found = encode(pipe, [name_of(definition), *definition.prompts], length)
    name = found.ids[0][found.said[0].cpu()]
    places = [_last_of(name, ids) for ids in found.ids]
    rows = [embeds[place] for embeds, place in zip(found.embeds, places, strict=True)
            if place is not None]  # fmt: skip
    return torch.stack(rows).float()


def kept_tokens(pipe: Any, setting: Setting) -> Tensor:
    """Embeddings of the words of near-misses and benign prompts, (tokens, dim).

    Words of a concept's name are left out, in near-misses too: no linear map can both change and
    keep the "pistol" of "a pistol" and of "a water pistol", whose embeddings are much alike.
    """
    texts = [text for item in setting.definitions for text in (*item.near_misses, *item.benign)]
    if not texts:
        return torch.zeros(0, pipe.text_encoder_2.config.d_model)
    length = text_length(setting.profile)
    found = encode(pipe, list(dict.fromkeys(texts)), length)
    ids, said = token_ids(pipe, [name_of(item) for item in setting.definitions], length)
    kept = found.said & ~torch.isin(found.ids, ids[said]).to(found.said.device)
    return found.embeds[kept].float()


def _last_of(name: Tensor, ids: Tensor) -> int | None:
    """Place of the last token of a name among a text's tokens, None where it does not occur."""
    size = len(name)
    for start in range(len(ids) - size + 1):
        if torch.equal(ids[start : start + size], name):
            return start + size - 1
    return None
