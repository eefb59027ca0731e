"""Scores: how much each patch looks like each concept.

UVR (arXiv 2606.06875), localisation: output patches at the tap are scored against the anchors. The
reference release takes the mean over heads and anchors of their scaled dot product. A mean of dot
products is one dot product with the mean, so a concept costs one weight vector, or a few where it
looks like several things (prototypes), and all concepts together one matrix product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from concepts.scorer import Scorer


class ScorerStack:
    """The scorers of all concepts of a variant as one matrix, so that a look is one product.

    Scorers with equally many rows lie next to each other: the best row of each concept is then a
    maximum over one axis of a view, one operation for each number of rows that occurs.

    Args:
        scorers: Weights and offsets of each concept, all in the same anchor space; perhaps none.
    """

    def __init__(self, scorers: Sequence[Scorer]) -> None:
        self._order = sorted(range(len(scorers)), key=lambda place: len(scorers[place].weights))
        self._sorted = [scorers[place] for place in self._order]
        self._groups = sorted(Counter(len(scorer.weights) for scorer in scorers).items())
        self._placed: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def scores(self, features: Tensor) -> Tensor:
        """Score every patch for every concept: ``max_k(f . w_k + offset_k)``.

        The reference's mean over heads and anchors of the scaled dot product is the case of a
        single weight vector, the mean anchor. "score >= threshold is a match".

        Args:
            features: Attention outputs at the taps, concatenated, (batch, patches, dim), float32.

        Returns:
            Scores, float32, (batch, concepts, patches), in the order of the scorers given.

        Raises:
            ValueError: The features have another width than the scorers.
        """
        dim = self._sorted[0].dim
        if dim != features.shape[-1]:
            raise ValueError(
                f"features have {features.shape[-1]} dimensions, the scorers expect {dim}"
            )
        # One product a picture: a score then does not depend on the rest of the batch, and the
        # scores of all rows, (rows, patches), take memory for one picture at a time.
        return torch.stack([self._score(picture.float()) for picture in features])

    def _score(self, picture: Tensor) -> Tensor:
        weights, offset, places = self._on(picture.device)
        product = torch.addmm(offset, weights, picture.T)
        parts = product.split_with_sizes([rows * concepts for rows, concepts in self._groups])
        best = [
            part.view(concepts, rows, -1).amax(dim=1)
            for part, (rows, concepts) in zip(parts, self._groups, strict=True)
        ]
        return torch.cat(best)[places]

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (rows, dim), offsets (rows, 1), and each concept's place among the sorted."""
        if device not in self._placed:
            weights = np.concatenate([scorer.weights for scorer in self._sorted], dtype=np.float32)
            offset = np.concatenate([scorer.offset for scorer in self._sorted])[:, None]
            self._placed[device] = (
                torch.from_numpy(weights).to(device),
                torch.from_numpy(offset).to(device),
                torch.tensor(self._order).argsort().to(device),
            )
        return self._placed[device]
