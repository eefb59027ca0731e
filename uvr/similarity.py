"""Scores: how much each patch looks like a concept."""

from __future__ import annotations

import torch
from torch import Tensor

from concepts.anchors import Scorer


def score_map(features: Tensor, scorer: Scorer) -> Tensor:
    """Score every patch for one concept: ``max_k(f . w_k + offset_k)``.

    The reference's mean over heads and anchors of the scaled dot product is the case of a single
    weight vector, the mean anchor. "score >= threshold is a match".

    Args:
        features: Attention outputs at the taps, concatenated, (batch, patches, dim), float32.
        scorer: Weights and offsets of the concept in the same anchor space.

    Returns:
        Scores, float32, (batch, patches).
    """
    weights = torch.tensor(scorer.weights, dtype=torch.float32, device=features.device)
    offset = torch.tensor(scorer.offset, dtype=torch.float32, device=features.device)
    if weights.shape[1] != features.shape[-1]:
        raise ValueError(
            f"features have {features.shape[-1]} dimensions, the scorer expects {weights.shape[1]}"
        )
    return (features.float() @ weights.T + offset).amax(dim=-1)
