"""Features of many pictures, read a picture at a time: at real size they do not fit into memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from concepts.errors import UVRError
from uvr.anchors.capture import FeatureArray

Kept = Mapping[str, tuple[FeatureArray, ...]]
"""By the key of a batch, its features of each kind, (pictures, patches, dim)."""


class Pictures(Protocol):
    """Features of pictures, (pictures, patches, dim): an array, or a ``Stack``."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Numbers of pictures, patches and features."""
        ...

    def __getitem__(self, picture: int, /) -> FeatureArray:
        """Those of one picture, (patches, dim)."""
        ...


class Stack:
    """Features of one kind, of the pictures of some batches, in order.

    Args:
        kept: Where they are.
        batches: The batches' keys and numbers of pictures.
        kind: Position of the kind among those that are kept.

    Raises:
        UVRError: Features of a batch are gone, here or where a picture is read.
    """

    def __init__(self, kept: Kept, batches: Sequence[tuple[str, int]], kind: int) -> None:
        self._kept = kept
        self._keys = [key for key, _ in batches]
        self._ends = list(accumulate(count for _, count in batches))
        self._kind = kind
        _, patches, dim = self._of_batch(0).shape
        self.shape = (self._ends[-1], patches, dim)

    def __getitem__(self, picture: int) -> FeatureArray:
        batch = bisect_right(self._ends, picture)
        before = self._ends[batch - 1] if batch else 0
        features: FeatureArray = self._of_batch(batch)[picture - before]
        return features

    def _of_batch(self, batch: int) -> FeatureArray:
        try:
            return self._kept[self._keys[batch]][self._kind]
        except KeyError as error:
            raise UVRError(
                "Features that this collection captured were removed or changed while it read "
                "them. Run the same command again: it captures what is lacking."
            ) from error


class Rows:
    """Chosen patches of pictures as rows, (n, dim), of which a slice is read when it is asked for.

    Args:
        features: Of the pictures.
        chosen: Which patches, (pictures, patches); rows are in this order.
    """

    def __init__(self, features: Pictures, chosen: NDArray[np.bool_]) -> None:
        self._features = features
        self._pictures, self._patches = np.nonzero(chosen)
        self.shape = (len(self._pictures), features.shape[-1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> FeatureArray:
        pictures, patches = self._pictures[rows], self._patches[rows]
        found = np.empty((len(pictures), self.shape[1]), dtype=np.float32)
        numbers, starts = np.unique(pictures, return_index=True)
        ends = [*starts, len(pictures)][1:]
        for number, start, end in zip(numbers, starts, ends, strict=True):
            found[start:end] = self._features[int(number)][patches[start:end]]
        return found
