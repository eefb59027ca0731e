"""Double projection (arXiv 2604.10032) on FLUX's ``context_embedder``.

1. A name's embedding c is projected onto the span of what is harmless: its proxy c*.
2. W moves so that it maps c where it mapped c*, by a change that is zero on all that is kept: with
   a basis U of the complement of the kept embeddings' span and X = Uᵀ C,

       W' = W + W (C* - C) X⁺ Uᵀ

Kept embeddings that are many leave no complement, so only the span of their strongest directions is
kept exactly, as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from concepts.yaml_text import check_value
from uvr.evaluation.cases import Case
from uvr.evaluation.drawing import Drawer, Picture, call_arguments
from uvr.evaluation.methods.embedder import embedder_weight
from uvr.evaluation.methods.method import Method
from uvr.evaluation.methods.texts import kept_tokens, name_tokens, text_length
from uvr.evaluation.setting import Setting


@dataclass(frozen=True)
class DoubleProjection(Method):
    """Maps the concepts' names to their harmless part, and harmless words as before.

    Attributes:
        kept: Share of the dimensions of the text whose directions are kept exactly, the strongest
            of near-misses' and benign prompts' words.
        rank: Share of the dimensions that a change may have: singular values of X beyond are noise.
    """

    kept: float = 0.05
    rank: float = 0.5

    name = "double-projection"
    about = "Names are mapped to their projection on harmless words, which are mapped as before."
    tuned = "Chosen from three pairs of shares on 30 pictures of seed 31 each."
    code = ("uvr.evaluation.methods.texts", "uvr.evaluation.methods.embedder")

    def __post_init__(self) -> None:
        for field in ("kept", "rank"):
            check_value((field,), getattr(self, field), (float, 0.0, 1.0))

    @contextmanager
    def open(self, pipe: Any, setting: Setting) -> Iterator[Drawer]:
        """Solve for the weight, draw with it, put the old one back."""
        length = text_length(setting.profile)
        names = torch.cat([name_tokens(pipe, item, length) for item in setting.definitions])
        old = pipe.transformer.context_embedder.weight.detach().float()
        weight = self.solved(old, names, kept_tokens(pipe, setting))
        with embedder_weight(pipe, weight):

            def draw(cases: Sequence[Case]) -> list[Picture]:
                arguments = call_arguments(pipe, setting.profile, cases)
                return [Picture(image) for image in pipe(**arguments).images]

            yield draw

    def solved(self, old: Tensor, names: Tensor, kept: Tensor) -> Tensor:
        """The weight, (out, dim).

        Args:
            old: Weight, (out, dim).
            names: Embeddings of names, (n, dim).
            kept: Embeddings of harmless words, (m, dim), which also span what is safe.
        """
        names, kept, weight = (part.double() for part in (names, kept, old))
        dim = names.shape[1]
        basis = torch.linalg.svd(kept).Vh
        strongest = basis[: min(int(self.kept * dim), len(kept))]
        proxy = names @ strongest.T @ strongest
        complement = torch.eye(dim).to(names) - strongest.T @ strongest
        left = names @ complement
        change = _limited_pinv(left, int(self.rank * dim)) @ (proxy - names) @ weight.T
        moved: Tensor = (weight + (complement @ change).T).to(old)
        return moved


def _limited_pinv(rows: Tensor, rank: int) -> Tensor:
    """Pseudo-inverse of a matrix by its strongest singular directions alone."""
    u, s, vh = torch.linalg.svd(rows, full_matrices=False)
    some = max(1, min(rank, int((s > 1e-8 * s[0]).sum())))
    inverse: Tensor = vh[:some].T @ (u[:, :some] / s[:some]).T
    return inverse
