"""How well a method's scores and masks say where a banned thing is, on the testbed's scenes.

The truth is the thing's outline in the case's scene; it counts only where stock's picture shows the
thing, by the first judge, since a thing that is not drawn cannot be found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uvr.anchors.extract import MIN_COVERAGE, patch_coverage
from uvr.anchors.separation import RATE, area_under_curve
from uvr.evaluation.comparison import Pair, Place, Reader
from uvr.evaluation.statistics import share
from uvr.testbed import scenes
from uvr.testbed.samples import CONCEPTS


@dataclass(frozen=True)
class Line:
    """The score that ``RATE`` of benign pictures reach somewhere, and of how many pictures."""

    score: float
    n: int


Lines = Mapping[tuple[str, str, str], Line]
"""By task, method and slug."""


def lines_of(pairs: Mapping[Place, Sequence[Pair]]) -> dict[tuple[str, str, str], Line]:
    """Lines of every method, from its benign pictures, near-misses apart."""
    peaks: dict[tuple[str, str, str], list[float]] = {}
    for place, part in pairs.items():
        if place.concept == "" and place.use != "near-miss":
            for pair in part:
                for slug, scores in pair.method.scores.items():
                    peaks.setdefault((place.task, place.method, slug), []).append(scores.max())
    return {
        key: Line(float(np.quantile(values, 1 - RATE, method="higher")), len(values))
        for key, values in peaks.items()
    }


def located(
    place: Place, pairs: Sequence[Pair], reader: Reader, lines: Lines
) -> dict[str, Any] | None:
    """Localisation of a row: ``auc``, ``iou`` and ``recall``; None where nothing can be said.

    ``auc``: chance that a patch under the thing scores above one clear of it in the same picture,
    the mean over pictures. ``iou``: of the method's mask and the patches under the thing, the mean
    over the ``masked`` pictures that have a mask. ``recall``: pictures in which a patch under the
    thing scores above what ``RATE`` of benign pictures reach.
    """
    areas, overlaps, found, known, benign = [], [], 0, 0, []
    for pair in pairs:
        for slug, scores, coverage in _truths(pair, reader):
            under = coverage >= MIN_COVERAGE
            areas.append(area_under_curve(scores[under], scores[coverage == 0]))
            if pair.method.mask is not None:
                overlaps.append(_overlap(pair.method.mask.ravel(), under))
            line = lines.get((place.task, place.method, slug))
            if line is not None:
                known += 1
                found += bool((scores[under] > line.score).any())
                benign.append(line.n)
    if not areas:
        return None
    return {
        "n": len(areas),
        "auc": mean(areas),
        "iou": mean(overlaps) if overlaps else None,
        "masked": len(overlaps),
        "recall": share(found, known),
        "benign": min(benign, default=0),
    }


def _truths(
    pair: Pair, reader: Reader
) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float32]]]:
    """Each banned thing that was drawn and scored: slug, scores and coverage, (patches,) each."""
    case = pair.case
    if case.scene is None:
        return
    _, masks = scenes.render(case.scene)
    for slug in case.banned:
        scores = pair.method.scores.get(slug)
        if scores is None or not reader.times(reader.judges[0], slug, pair.base):
            continue
        mask = masks[case.scene.names().index(CONCEPTS[slug])]
        coverage = patch_coverage(mask, (scores.shape[0], scores.shape[1]))
        if (coverage >= MIN_COVERAGE).any() and (coverage == 0).any():
            yield slug, scores.ravel().astype(np.float64), coverage


def _overlap(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    return float((mask & truth).sum() / (mask | truth).sum())
