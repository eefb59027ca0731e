"""Scores: how much each patch looks like each concept.

UVR (arXiv 2606.06875), localisation: output patches at the tap are scored against the anchors. The
reference release takes the mean over heads and anchors of their scaled dot product. A mean of dot
products is one dot product with the mean, so a concept costs one weight vector, or a few where it
looks like several things (prototypes), and all concepts together one matrix product.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concepts.errors import MismatchError
from concepts.scorer import Scorer
from uvr.method.features import Features

LOWEST = -1e9
"""Score of a concept that has nothing to score some patches by: below every threshold."""

Rows = tuple[NDArray[Any], NDArray[np.float32]]
"""Weights, (rows, dim), and offsets, (rows,), of one concept."""


class LookScorers:
    """The scorers of all concepts of a variant, for output patches and those of given pictures.

    A row of a scorer reads either features of output patches or the features of a given picture's
    patches behind them (``uvr.method.taps``), and scores patches of that kind alone.

    Args:
        scorers: All in the same anchor space; perhaps none.
        output_dim: Number of features of an output patch; by default all.

    Raises:
        MismatchError: A row reads features of both.
    """

    def __init__(self, scorers: Sequence[Scorer], output_dim: int | None = None) -> None:
        dim = scorers[0].dim if scorers else 0
        split = dim if output_dim is None else output_dim
        self._output = ScorerStack(scorers, slice(0, split))
        self._reference = ScorerStack(scorers, slice(split, dim))

    def scores(self, features: Features) -> tuple[Tensor, list[Tensor]]:
        """Score output patches and those of each given picture; see ``ScorerStack.scores``."""
        given = [self._reference.scores(each) for each in features.references]
        return self._output.scores(features.output), given


class ScorerStack:
    """The scorers of all concepts of a variant as one matrix, so that a look is one product.

    Scorers with equally many rows lie next to each other: the best row of each concept is then a
    maximum over one axis of a view, one operation for each number of rows that occurs.

    Args:
        scorers: Weights and offsets of each concept, all in the same anchor space; perhaps none.
        columns: Take those rows that read some of these features, and these features alone; all by
            default.
    """

    def __init__(self, scorers: Sequence[Scorer], columns: slice | None = None) -> None:
        concepts = [_rows_of(scorer, columns or slice(0, scorer.dim)) for scorer in scorers]
        self._order = sorted(range(len(concepts)), key=lambda place: len(concepts[place][0]))
        self._sorted = [concepts[place] for place in self._order]
        self._groups = sorted(Counter(len(weights) for weights, _ in concepts).items())
        self._placed: dict[torch.device, tuple[Tensor, Tensor, Tensor]] = {}

    def scores(self, features: Tensor) -> Tensor:
        """Score every patch for every concept: ``max_k(f . w_k + offset_k)``.

        The reference's mean over heads and anchors of the scaled dot product is the case of a
        single weight vector, the mean anchor. "score >= threshold is a match".

        Args:
            features: Attention outputs at the taps, concatenated, (batch, patches, dim), float32.

        Returns:
            Scores, float32, (batch, concepts, patches), in the order of the scorers given; LOWEST
            for one without rows.

        Raises:
            ValueError: The features have another width than the scorers.
        """
        dim = self._sorted[0][0].shape[1]
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
            if rows
            else part.new_full((concepts, product.shape[1]), LOWEST)
            for part, (rows, concepts) in zip(parts, self._groups, strict=True)
        ]
        return torch.cat(best)[places]

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        """Weights (rows, dim), offsets (rows, 1), and each concept's place among the sorted."""
        if device not in self._placed:
            weights = np.concatenate([weights for weights, _ in self._sorted], dtype=np.float32)
            offset = np.concatenate([offset for _, offset in self._sorted])[:, None]
            self._placed[device] = (
                torch.from_numpy(weights).to(device),
                torch.from_numpy(offset).to(device),
                torch.tensor(self._order).argsort().to(device),
            )
        return self._placed[device]


def _rows_of(scorer: Scorer, columns: slice) -> Rows:
    """Rows of a scorer that read some of its features, and these features alone."""
    if columns == slice(0, scorer.dim):
        return scorer.weights, scorer.offset
    inside = np.zeros(scorer.dim, dtype=bool)
    inside[columns] = True
    reads = scorer.weights[:, inside].any(axis=1)
    if (reads & scorer.weights[:, ~inside].any(axis=1)).any():
        raise MismatchError(
            "A row of a scorer reads features of the output and of a given picture at once; no "
            "patch has both. Collect the concept's anchors again."
        )
    return scorer.weights[reads][:, inside], scorer.offset[reads]
