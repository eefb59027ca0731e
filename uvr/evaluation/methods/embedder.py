"""The layer where text enters a FLUX transformer, with other weights for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def embedder_weight(pipe: Any, weight: Tensor) -> Iterator[None]:
    """Have ``context_embedder`` map T5's embeddings by another weight, within the context.

    The parameter's data is changed in place and put back to the bit; the bias stays.
    """
    parameter = pipe.transformer.context_embedder.weight
    before = parameter.detach().clone()
    try:
        with torch.no_grad():
            parameter.copy_(weight)
        yield
    finally:
        with torch.no_grad():
            parameter.copy_(before)
