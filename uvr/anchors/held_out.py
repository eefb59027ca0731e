"""Held-out scores: each picture scored by directions that were fitted on other pictures.

Pictures are dealt to five folds, and those of each fold are scored by the directions of the other
four. With two folds directions know half of the pictures only, and thresholds come out too high.
Variants of a picture are in its fold, and none of them counts for one picture more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.anchors import AnchorSet, Ints
from concepts.prototypes import WITHIN_SHARE, balanced_weights
from uvr.anchors.directions import Array, Direction, Part, fit_directions, highest_scores
from uvr.anchors.kinds import variants_by_kind

Scores = NDArray[np.float64]

FOLDS = 5
"""Parts into which pictures are dealt for cross-fitting."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Scores of patches, and the picture that each is from.

    Attributes:
        anchors: Of the concept's patches, (n,).
        anchor_images: Their pictures' numbers, (n,).
        counters: Of the other patches, (m,), those of the concept's own pictures included.
        counter_images: Their pictures' numbers, (m,).
        variants: Numbers of pictures that were made from others.
    """

    anchors: Scores
    anchor_images: Ints
    counters: Scores
    counter_images: Ints
    variants: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int32))

    @property
    def benign(self) -> NDArray[np.bool_]:
        """Which counter-anchors are from pictures without the concept, (m,)."""
        return ~np.isin(self.counter_images, self.anchor_images)

    def shown_peaks(self) -> tuple[Ints, Scores]:
        """Numbers of the concept's pictures, rising, and the highest score of their anchors."""
        numbers, peaks = self.varied_peaks()
        given = ~np.isin(numbers, self.variants)
        return numbers[given], peaks[given]

    def varied_peaks(self) -> tuple[Ints, Scores]:
        """The same of the concept's pictures and of their variants."""
        return np.unique(self.anchor_images), highest_of_each(self.anchors, self.anchor_images)

    def benign_peaks(self) -> tuple[Ints, Scores]:
        """Numbers of the pictures without the concept, rising, and their highest scores."""
        images = self.counter_images[self.benign]
        return np.unique(images), highest_of_each(self.counters[self.benign], images)


def held_out_scores(
    anchor_set: AnchorSet,
    parts: Sequence[Part] = (),
    *,
    within_share: float = WITHIN_SHARE,
    **fit: Any,
) -> list[HeldOut]:
    """Score each fold of the pictures with directions fitted on the other folds.

    Args:
        anchor_set: Anchors and counter-anchors.
        parts: See ``fit_directions``.
        columns: See ``fit_directions``.
        within_share: See ``balanced_weights``.
        fit: Other arguments of ``fit_directions``.

    Returns:
        For each part the scores of all patches by its directions.
    """
    variants = variants_by_kind(anchor_set.provenance)
    made_from = {one: of for pairs in variants.values() for one, of in pairs}
    shown = _given(anchor_set.anchor_images, made_from)
    anchor_fold = folds_of(shown)
    # A picture that holds the concept keeps its counter-anchors in its anchors' fold.
    counter_fold = folds_of(_given(anchor_set.counter_images, made_from), shown)
    within = np.isin(anchor_set.counter_images, anchor_set.anchor_images)
    parts = parts or [Part(np.ones(len(anchor_fold), dtype=bool))]
    counters = anchor_set.counter_anchors
    anchor_scores = np.zeros((len(parts), len(anchor_fold)))
    counter_scores = np.zeros((len(parts), len(counter_fold)))
    for fold in np.unique(np.concatenate([anchor_fold, counter_fold])):
        directions = fit_directions(
            anchor_set.anchors,
            counters[counter_fold != fold],
            parts=[_without(part, anchor_fold == fold) for part in parts],
            weights=balanced_weights(within[counter_fold != fold], within_share),
            **fit,
        )
        own, others = anchor_set.anchors[anchor_fold == fold], counters[counter_fold == fold]
        for number, part in enumerate(parts):
            of_part = [direction for direction in directions if direction.part == number]
            anchor_scores[number, anchor_fold == fold] = _scores(part, of_part, own)
            counter_scores[number, counter_fold == fold] = _scores(part, of_part, others)
    numbers = np.array(sorted(made_from), dtype=np.int32)
    return [
        HeldOut(own, anchor_set.anchor_images, other, anchor_set.counter_images, numbers)
        for own, other in zip(anchor_scores, counter_scores, strict=True)
    ]


def _given(images: Ints, made_from: Mapping[int, int]) -> Ints:
    """Numbers of pictures, and for variants those of the pictures that they were made from."""
    return np.array([made_from.get(int(image), int(image)) for image in images], dtype=np.int32)


def _scores(part: Part, directions: Sequence[Direction], features: Array) -> Scores:
    """Scores by a part's directions; nothing matches where it has no features to read."""
    return np.where(part.reads(features), highest_scores(directions, features), -np.inf)


def _without(part: Part, fold: NDArray[np.bool_]) -> Part:
    """A part without the anchors of a fold, or as it is where all of them are of that fold."""
    others = part.anchors & ~fold
    return replace(part, anchors=others) if others.any() else part


def folds_of(images: Ints, known: Ints | None = None) -> NDArray[np.int64]:
    """Deal pictures to folds in turn, in order of their numbers; those of ``known`` first."""
    fold: dict[int, int] = {}
    for group in (known, images):
        if group is not None:
            fresh = [int(image) for image in np.unique(group) if int(image) not in fold]
            fold |= {image: place % FOLDS for place, image in enumerate(fresh)}
    return np.array([fold[int(image)] for image in images])


def highest_of_each(scores: Scores, images: Ints) -> Scores:
    """Return each picture's highest score, in the order of their numbers."""
    _, inverse = np.unique(images, return_inverse=True)
    highest = np.full(int(inverse.max()) + 1, -np.inf)
    np.maximum.at(highest, inverse, scores)
    return highest
