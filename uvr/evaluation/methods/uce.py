"""UCE's closed form (arXiv 2308.14761) on FLUX's ``context_embedder``, as its release has it.

The authors' code for FLUX (unified-concept-editing, ``uce_flux_edit.py``) changes the one linear
map that T5's embeddings go through. Embeddings c of the concepts' names are to be mapped where W
maps a guide g, embeddings p of what is kept where it maps them already, and the rest stays near:

    W' = (lambda W + a Σ W g cᵀ + b Σ W p pᵀ) (lambda I + a Σ c cᵀ + b Σ p pᵀ)⁻¹
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
from uvr.evaluation.methods.embedder import embedder_weight
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import encode, kept_tokens, name_tokens, text_length
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class Uce(Method):
    """Maps the concepts' names to what an empty text is mapped to.

    Attributes:
        erase: Weight a of each name, which is taken alone and in each prompt of its definition.
        keep: Weight b of each word of near-misses and benign prompts.
        near: Weight lambda of the old map, as a share of the mean square of the embeddings' values.
    """

    erase: float = 1.0
    keep: float = 1.0
    near: float = 0.5

    name = "uce"
    about = "UCE: context_embedder is solved anew so that concepts' names become an empty text's."
    tuned = (
        "The release's weights; on 30 pictures of seed 31 a hundred times the weight on names and "
        "a fiftieth of lambda came to the same."
    )
    code = ("uvr.evaluation.methods.texts", "uvr.evaluation.methods.embedder")

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Solve for the weight, draw with it, put the old one back."""
        length = text_length(setting.profile)
        names = torch.cat([name_tokens(pipe, item, length) for item in setting.definitions])
        guide = encode(pipe, [""], length).embeds[0, :1].float().expand_as(names)
        old = pipe.transformer.context_embedder.weight.detach().float()
        weight = self.solved(old, names, guide, kept_tokens(pipe, setting))
        with embedder_weight(pipe, weight):

            def draw(cases: Sequence[Case]) -> list[Picture]:
                arguments = call_arguments(pipe, setting.profile, cases)
                return [Picture(image) for image in pipe(**arguments).images]

            yield draw

    def solved(self, old: Tensor, names: Tensor, guide: Tensor, kept: Tensor) -> Tensor:
        """The weight that fits best, (out, dim).

        Args:
            old: Weight, (out, dim).
            names: Embeddings to be mapped as the guide is, (n, dim).
            guide: (n, dim).
            kept: Embeddings to be mapped as before, (m, dim).
        """
        names, guide, kept, weight = (part.double() for part in (names, guide, kept, old))
        near = self.near * float(names.square().mean())
        squares = near * torch.eye(names.shape[1]).to(names)
        target = near * weight + self.erase * (guide @ weight.T).T @ names
        squares += self.erase * names.T @ names
        if len(kept):
            target += self.keep * (kept @ weight.T).T @ kept
            squares += self.keep * kept.T @ kept
        found: Tensor = torch.linalg.solve(squares, target.T).T.to(old)
        return found
