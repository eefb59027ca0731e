"""Which FAISS structure holds how many vectors, and how hard it may search.

========  ====================================================  ================
kind      what is kept of a unit vector                         found
========  ====================================================  ================
flat      float32                                               exactly
fp16      float16                                               exactly
rabitq    1 bit a number to find with, 8 bits to rank with      as gated
ivf       the same, in lists of which only the nearest are read  as gated
========  ====================================================  ================
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from concepts.words import INDEX_KINDS as KINDS

LARGEST = {"flat": 50_000, "fp16": 500_000, "rabitq": 2_000_000}
"""The most vectors that each kind is chosen for; above them all it is ``ivf``."""

EXACT = ("flat", "fp16")
"""Kinds whose errors have a bound, so that their results are made exact."""

EFFORTS: Mapping[str, tuple[Mapping[str, int], ...]] = {
    "flat": ({},),
    "fp16": ({},),
    "rabitq": tuple({"k_factor": factor} for factor in (4, 16, 64, 256, 1024)),
    "ivf": (
        {"nprobe": 16, "k_factor": 16},
        {"nprobe": 64, "k_factor": 64},
        {"nprobe": 256, "k_factor": 256},
        {"nprobe": 1024, "k_factor": 256},
        {"nprobe": 4096, "k_factor": 1024},
    ),
}
"""How hard to search, from cheap to costly; a build keeps the first that meets the gate.

``k_factor``: how many times the candidates wanted are ranked again with 8 bits a number.
``nprobe``: how many lists are read.
"""

_POINTS_PER_LIST = 40  # FAISS asks for 39 to train one.
_TRAINING_ROWS = 16_384


def kind_for(count: int) -> str:
    """Return the kind for so many vectors."""
    return next((kind for kind in KINDS[:-1] if count <= LARGEST[kind]), KINDS[-1])


def more_exact(kind: str) -> str | None:
    """Return the next kind that finds more, None after the most exact one."""
    place = KINDS.index(kind)
    return KINDS[place - 1] if place else None


def training_rows(kind: str, count: int) -> int:
    """Return how many of the vectors a kind is trained with."""
    if kind in EXACT:
        return 0
    lists = _POINTS_PER_LIST * _lists(count) if kind == "ivf" else 0
    return min(count, max(_TRAINING_ROWS, lists))


def new_index(kind: str, dim: int, count: int, training: NDArray[np.float32]) -> Any:
    """Return an empty, trained FAISS index by inner product.

    Args:
        kind: One of ``KINDS``.
        dim: Size of a vector.
        count: How many it will hold.
        training: A sample of them, (``training_rows(kind, count)``, dim).
    """
    product = faiss.METRIC_INNER_PRODUCT
    if kind == "flat":
        return faiss.IndexFlatIP(dim)
    if kind == "fp16":
        return faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, product)
    # One bit a number loses least when no number stands out; a rotation spreads them evenly. This
    # one takes no matrix product, so that a query is turned the same alone and in a batch.
    rotation = faiss.HadamardRotation(dim)
    turned = rotation.d_out
    bits: Any
    if kind == "rabitq":
        bits = faiss.IndexRaBitQ(turned, product)
    else:
        lists = faiss.IndexFlatIP(turned)
        bits = faiss.IndexIVFRaBitQ(lists, turned, _lists(count), product)
        bits.cp.spherical = True
    ranking = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, product)
    index = faiss.IndexRefine(faiss.IndexPreTransform(rotation, bits), ranking)
    index.train(training)
    return index


def search_parameters(effort: Mapping[str, int]) -> Any:
    """Return FAISS's parameters for an effort, None where there is nothing to say."""
    if not effort:
        return None
    new: Any = faiss  # FAISS adds the keyword arguments at import, which its types do not say.
    base = None
    if "nprobe" in effort:
        lists = new.IVFRaBitQSearchParameters(nprobe=effort["nprobe"])
        base = new.SearchParametersPreTransform(index_params=lists)
    return new.IndexRefineSearchParameters(k_factor=effort["k_factor"], base_index_params=base)


def _lists(count: int) -> int:
    return max(1, min(isqrt(count), count // _POINTS_PER_LIST))
