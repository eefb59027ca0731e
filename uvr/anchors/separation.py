"""How well features tell patches that show a concept from all others, on pictures held out.

Pictures are noised to a level and pass the transformer once, captured at every attention layer.
The scores of each picture are by a direction that was fitted on other pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import AnchorSet, AnchorSpace
from uvr.anchors.capture import Progress
from uvr.anchors.capturing import noised_features
from uvr.anchors.extract import MIN_COVERAGE, patch_coverage
from uvr.anchors.held_out import held_out_scores, highest_of_each
from uvr.profiles import ModelProfile
from uvr.sample import Sample

RATE = 0.01
"""Share of benign pictures that may reach the threshold at which recall is told."""
MAX_PATCHES = 128
"""Patches kept of each picture, drawn at random: all layers of a large model are kept at once."""


@dataclass(frozen=True)
class Separation:
    """How well features tell a concept, at some taps and one noise level.

    Attributes:
        taps: Where the features are from; several are joined.
        sigma: The noise level.
        auc: Chance that a patch of the concept scores above another patch, 0 to 1.
        where: The same among patches of the concept's own pictures: features that know only that
            the concept is in the picture have 0.5.
        recall: Share of the concept's pictures in which one of its patches scores above what
            ``RATE`` of the benign pictures reach.
    """

    taps: tuple[str, ...]
    sigma: float
    auc: float
    where: float
    recall: float


@dataclass(frozen=True, eq=False)
class LabelledPatches:
    """Patches of pictures at one noise level, captured at every layer.

    Attributes:
        sigma: The noise level.
        columns: Where the features of each layer lie, by its name.
        features: (patches, dimensions of all layers), float16.
        pictures: The picture of each patch, (patches,).
        shows: Whether it shows the concept, (patches,), bool.
        clear: Whether it shows nothing of it, (patches,), bool.
        benign_from: Pictures from this number on are without the concept.
    """

    sigma: float
    columns: dict[str, slice]
    features: NDArray[np.float16]
    pictures: NDArray[np.int32]
    shows: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    benign_from: int

    def separation(self, taps: Sequence[str]) -> Separation:
        """Measure some taps, joined."""
        joined = np.concatenate([self.features[:, self.columns[tap]] for tap in taps], axis=1)
        anchor_set = AnchorSet(
            space=AnchorSpace("analysed", "", "t2i", tuple(taps), joined.shape[1], self.sigma),
            anchors=joined[self.shows],
            anchor_images=self.pictures[self.shows],
            counter_anchors=joined[self.clear],
            counter_images=self.pictures[self.clear],
        )
        (scores,) = held_out_scores(anchor_set)
        numbers = np.unique(anchor_set.counter_images)
        peaks = highest_of_each(scores.counters, anchor_set.counter_images)
        line = np.quantile(peaks[numbers >= self.benign_from], 1 - RATE, method="higher")
        found = highest_of_each(scores.anchors, anchor_set.anchor_images) > line
        beside = scores.counters[np.isin(anchor_set.counter_images, anchor_set.anchor_images)]
        return Separation(
            tuple(taps),
            self.sigma,
            auc=area_under_curve(scores.anchors, scores.counters),
            where=area_under_curve(scores.anchors, beside),
            recall=float(found.mean()),
        )


def label_noised(
    pipe: Any,
    profile: ModelProfile,
    columns: dict[str, slice],
    positives: Sequence[Sample],
    benign: Sequence[Sample],
    sigma: float,
    *,
    grid: tuple[int, int],
    seed: int = 0,
    batch_size: int = 8,
    progress: Progress | None = None,
) -> LabelledPatches:
    """Capture all layers of noised pictures, and label a part of their patches by the masks.

    Args:
        pipe: The pipeline.
        profile: Gives the size and the call; its own taps count for nothing.
        columns: Where the features of each layer are to lie, by its name, in order.
        positives: Pictures with masks of the concept.
        benign: Pictures without it.
        sigma: The noise level.
        grid: Rows and columns of patches.
        seed: Of the noise, and of the patches that are kept.
        batch_size: Pictures in one pass.
        progress: Told how many pictures are done.
    """
    samples = [*positives, *benign]
    everywhere = replace(profile, taps=tuple(columns))
    covered = np.stack([patch_coverage(sample.mask, grid) for sample in samples])
    random = np.random.default_rng(seed)
    kept = np.argsort(random.random(covered.shape), axis=1)[:, :MAX_PATCHES]
    features: list[NDArray[np.float16]] = []
    for batch in noised_features(
        pipe, everywhere, samples, sigma, seed=seed, batch_size=batch_size
    ):
        for picture in batch:
            features.append(_half(picture[kept[len(features)]]))
        if progress is not None:
            progress(len(features), len(samples))
    coverage = np.take_along_axis(covered, kept, axis=1)
    numbers = np.broadcast_to(np.arange(len(samples), dtype=np.int32)[:, None], coverage.shape)
    return LabelledPatches(
        sigma=sigma,
        columns=columns,
        features=np.concatenate(features),
        pictures=numbers.ravel(),
        shows=coverage.ravel() >= MIN_COVERAGE,
        clear=coverage.ravel() == 0,
        benign_from=len(positives),
    )


def area_under_curve(above: NDArray[np.float64], below: NDArray[np.float64]) -> float:
    """Chance that one of ``above`` exceeds one of ``below``; a tie counts half."""
    line = np.sort(below)
    ranks = np.searchsorted(line, above, "left") + np.searchsorted(line, above, "right")
    return float(ranks.mean() / (2 * len(line)))


def _half(features: NDArray[np.float32]) -> NDArray[np.float16]:
    """Features in half the memory; what does not fit becomes the largest that does."""
    limit = float(np.finfo(np.float16).max)
    return features.clip(-limit, limit).astype(np.float16)
