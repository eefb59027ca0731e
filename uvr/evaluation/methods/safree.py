"""SAFREE's projection of the text (arXiv 2410.12761), on the T5 sequence of FLUX.

1. The concepts' pooled names span a subspace; P_C projects onto it.
2. A prompt is encoded once for each of its words, that word masked; P_I projects onto the span of
   these. Without a word that carries a concept the prompt is farther from the concepts' subspace
   than without others: words whose distance is above (1 + alpha) times the mean of the rest are
   *triggers*.
3. Their embeddings p become (I - P_C) P_I p, in the order of the authors' code.

Left out: the self-validating filter, which ends the projection after some steps, and the latent
re-attention, which is for U-Nets. CLIP's pooled vector is not changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import Encoded, encode, encode_ids, name_of, text_length
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Safree(Method):
    """Projects the tokens of a prompt that carry a concept away from the concepts.

    Attributes:
        alpha: How much farther than the others a prompt must be without a word for it to count.
    """

    alpha: float = 0.1

    name = "safree"
    about = "Tokens that carry a concept are projected off the span of the concepts' names."
    tuned = "Chosen from 0.01 (the authors'), 0.03, 0.1 on 30 to 70 pictures of seed 31 each."
    code = ("uvr.evaluation.methods.texts",)

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Draw from changed embeddings; a prompt without triggers keeps its own to the bit."""
        length = text_length(setting.profile)
        names = [name_of(definition) for definition in setting.definitions]
        concepts = span(encode(pipe, names, length).pooled.float())

        def draw(cases: Sequence[Case]) -> list[Picture]:
            more: dict[str, Any] = {}
            if "prompt_embeds" not in cases[0].tensors:
                more = self._embeds(pipe, [case.prompt for case in cases], length, concepts)
            arguments = call_arguments(pipe, setting.profile, cases, **more)
            return [Picture(image) for image in pipe(**arguments).images]

        yield draw

    def _embeds(
        self, pipe: Any, prompts: Sequence[str], length: int, concepts: Tensor
    ) -> dict[str, Any]:
        """What takes the place of the prompts in the pipeline's call."""
        embeds, pooled, _ = pipe.encode_prompt(
            prompt=list(prompts), prompt_2=None, max_sequence_length=length
        )
        found = encode(pipe, prompts, length)
        changed = [
            projected(own, said, masked_pooled(pipe, ids, said), concepts, self.alpha)
            for own, ids, said in zip(embeds, found.ids, found.said, strict=True)
        ]
        return {
            "prompt": None, "prompt_embeds": torch.stack(changed), "pooled_prompt_embeds": pooled,
        }  # fmt: skip


def span(vectors: Tensor) -> Tensor:
    """Projection onto the span of vectors, (n, dim) to (dim, dim)."""
    projection: Tensor = torch.linalg.pinv(vectors) @ vectors
    return projection


def masked_pooled(pipe: Any, ids: Tensor, said: Tensor) -> Tensor:
    """The pooled embeddings of a text without each of its words, (words, dim)."""
    places = said.nonzero().flatten().tolist()
    masked = ids.repeat(len(places), 1)
    left = said.repeat(len(places), 1)
    for row, place in enumerate(places):
        masked[row, place] = pipe.tokenizer_2.pad_token_id
        left[row, place] = False
    if not places:
        return torch.zeros(0, pipe.text_encoder_2.config.d_model, device=said.device)
    return Encoded(masked, left, encode_ids(pipe, masked)).pooled.float()


def projected(own: Tensor, said: Tensor, masked: Tensor, concepts: Tensor, alpha: float) -> Tensor:
    """Embeddings of a text with its triggers projected.

    Args:
        own: (tokens, dim).
        said: Which tokens are words, (tokens,).
        masked: Pooled embeddings without each word, (words, dim), float32.
        concepts: Projection onto the concepts' subspace, (dim, dim).
        alpha: See ``Safree``.
    """
    if len(masked) < 2:
        return own
    distance = (masked - masked @ concepts).norm(dim=1)
    others = (distance.sum() - distance) / (len(distance) - 1)
    triggers = said.nonzero().flatten()[distance > (1 + alpha) * others]
    changed = own.clone()
    moved = own[triggers].float() @ span(masked)
    changed[triggers] = (moved - moved @ concepts).to(own.dtype)
    return changed
