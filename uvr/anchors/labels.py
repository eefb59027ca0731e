"""Tell the patches of drawn pictures that show a concept, knowing only which pictures do."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.prototypes import balanced_weights
from uvr.anchors.directions import fit_whitened
from uvr.anchors.stack import Pictures, Rows


def label_patches(
    late: Pictures, shown: int, *, rate: float = 0.01, clear_rate: float = 0.2
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the patches that show a concept, in passes over features that need not fit into memory.

    A direction is fitted on all patches of pictures that show the concept against all patches of
    those that do not. It is then refitted twice, on the patches that stand out; the lower-scoring
    half of the same pictures joins the other side, because every patch knows a little of what else
    is in its picture. A concept that fills more than half of its pictures is labelled only in part.

    Args:
        late: Features of the last step, (pictures, patches, dim).
        shown: How many pictures show the concept; they come first.
        rate: Share of the other side's patches allowed above the line.
        clear_rate: Patches below the other side's ``1 - clear_rate`` quantile are clear of it.

    Returns:
        Which of their patches show the concept, and which clearly do not, (shown, patches); the
        rest is unsure.
    """
    pictures, patches, _ = late.shape
    within = np.zeros((pictures, patches), dtype=bool)
    within[:shown] = True
    inside, outside = Rows(late, within), Rows(late, ~within)
    direction = fit_whitened(inside, outside)
    scores = direction.scores(inside).reshape(shown, patches)
    line = clear_line = _line(scores, direction.scores(outside), rate)
    for _ in range(2):
        shows, lower = scores > line, scores <= np.median(scores)
        if not shows.any():
            break
        positive, other = np.zeros_like(within), ~within
        positive[:shown], other[:shown] = shows, lower
        count = int(lower.sum())
        weights = balanced_weights(np.arange(count + len(outside)) < count)
        direction = fit_whitened(Rows(late, positive), Rows(late, other), weights=weights)
        scores = direction.scores(inside).reshape(shown, patches)
        apart = direction.scores(outside)
        line, clear_line = _line(scores, apart, rate), _line(scores, apart, clear_rate)
    shows = scores > line
    return shows, ~shows & (scores < clear_line)


def _line(inside: NDArray[Any], outside: NDArray[Any], rate: float) -> float:
    """Score that about ``rate`` of the patches without the concept exceed.

    Outside of its pictures that is a quantile. Within them, the lower half is taken to be free of
    it, and tells the spread of the rest by assuming a normal distribution.
    """
    tenth, median = np.quantile(inside, [0.1, 0.5])
    deviation = float(median - tenth) / NormalDist().inv_cdf(0.9)
    within = float(median) + NormalDist().inv_cdf(1 - rate) * deviation
    return max(within, float(np.quantile(outside, 1 - rate)))
