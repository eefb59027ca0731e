"""The smoke query of a loaded bundle: can each of its scorers match at all?"""

from __future__ import annotations

import numpy as np

from concepts.bundle import Bundle
from concepts.bundle.member import Member
from concepts.errors import MismatchError


def check_matchable(bundle: Bundle) -> None:
    """Check that every scorer can match: a query made of its own prototype, along each row.

    The last step of loading (a smoke query). The query ``s w_k / |w_k|`` is scaled so that row k
    alone puts it above the threshold, whatever the offset, since a whitened scorer is affine and
    its prototype of length one need not match. Scored in float32 as the engine does, it must match
    by row k, which the maximum over all rows is never below; the other rows are left out, since
    their number squared is more than a host may have memory for. Every scorer that can match at
    all passes; rows of zeros or numbers that overflow do not. Swapped bytes are found before, by
    the digests.

    Raises:
        MismatchError: A concept could never fire, or its scores are not finite.
    """
    for variant in bundle.variants:
        for member in variant.members:
            if not _matches_itself(member):
                raise MismatchError(
                    f"The scorer of '{member.slug}' does not match its own prototype: it could "
                    "never find anything. Collect its anchors again."
                )


def _matches_itself(member: Member) -> bool:
    weights = member.scorer.weights.astype(np.float32)
    offset = member.scorer.offset.astype(np.float32)
    lengths = np.sqrt(np.einsum("kd,kd->k", weights, weights, dtype=np.float64))
    if not (lengths > 0).all():
        return False
    threshold = member.seed_threshold
    sizes = np.maximum(0.0, (threshold - offset) / lengths)
    with np.errstate(over="ignore", invalid="ignore"):
        queries = (weights / lengths[:, None] * sizes[:, None]).astype(np.float32)
        scores = np.einsum("kd,kd->k", queries, weights) + offset
    scale = max(1.0, abs(threshold), float(np.abs(offset).max()))
    return bool(np.isfinite(scores).all() and (scores >= threshold - 1e-3 * scale).all())
