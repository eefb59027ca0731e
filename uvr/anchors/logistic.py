"""Logistic regression: the direction that tells anchors from counter-anchors with least doubt.

Where features hold little noise, as those of a given picture do, patches of a concept and others
are nearly apart, and the best line between them follows from those that lie close to it. Whitening
goes by means and spread alone. The problem is convex: there is one answer, whatever the start.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

PENALTY = 1e-3
"""Of the squared length of the standardised vector, at shrinkage 1."""
ROUNDS = 60
"""Iterations of L-BFGS; more move no score that matters."""


@dataclass(frozen=True, eq=False)
class Others:
    """What anchors are told from.

    Attributes:
        features: Of the counter-anchors, (m, dim), float32.
        mean: Their weighted mean, (dim,).
        weights: Weight of each, (m,), summing to 1.
    """

    features: NDArray[np.float32]
    mean: NDArray[np.float64]
    weights: NDArray[np.float64]


MOST_OTHERS = 20_000
"""Counter-anchors that a fit takes, drawn at random; more move no score that matters."""


def logistic_vector(
    anchors: NDArray[np.float32], others: Others, shrinkage: float
) -> NDArray[np.float64]:
    """Fit the vector, (dim,); anchors weigh as much in all as counter-anchors do.

    Args:
        anchors: (n, dim).
        others: What they are told from.
        shrinkage: Times ``PENALTY``.
    """
    if len(others.features) > MOST_OTHERS:
        others = _drawn(others, MOST_OTHERS)
    features = torch.from_numpy(np.concatenate([anchors, others.features]))
    labels = torch.zeros(len(features))
    labels[: len(anchors)] = 1.0
    weights = torch.cat(
        [torch.full((len(anchors),), 1 / len(anchors)), torch.from_numpy(others.weights).float()]
    )
    mean = torch.from_numpy(others.mean).float()
    spread = (weights[len(anchors) :] @ (features[len(anchors) :] - mean).square()).sqrt() + 1e-6
    standard = torch.zeros_like(mean, requires_grad=True)
    offset = torch.zeros(1, requires_grad=True)
    search = torch.optim.LBFGS(
        [standard, offset], max_iter=ROUNDS, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        search.zero_grad()
        vector = standard / spread
        logits = features @ vector - mean @ vector + offset
        each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        value = each @ weights + shrinkage * PENALTY * standard.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    search.step(loss)  # type: ignore[no-untyped-call]
    found: NDArray[np.float64] = (standard / spread).detach().double().numpy()
    return found


def _drawn(others: Others, count: int) -> Others:
    """Some counter-anchors, drawn evenly; their weights sum to 1 again."""
    rows = np.sort(np.random.default_rng(0).permutation(len(others.features))[:count])
    weights = others.weights[rows] / others.weights[rows].sum()
    return Others(others.features[rows], others.mean, weights)
