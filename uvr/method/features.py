"""Features: what was captured at the taps in one pass, of the output and of given pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from uvr.method.tokens import Grid


@dataclass(frozen=True)
class Features:
    """What was captured at the taps in one pass, taps of one kind concatenated, float32.

    Attributes:
        output: Of the output patches, (rows, patches, dim).
        references: Of each given picture's patches, (rows, its patches, dim) each; empty without
            given pictures or without taps for them.
    """

    output: Tensor
    references: tuple[Tensor, ...] = ()

    def map(self, change: Callable[[Tensor], Tensor]) -> Features:
        """Return the same with each tensor changed."""
        return Features(change(self.output), tuple(change(each) for each in self.references))

    def joined(self, grid: Grid, reference_grids: Sequence[Grid], dim: int) -> list[Tensor]:
        """Put the features of a given picture's patches behind those of the output, place by place.

        Args:
            grid: Rows and columns of the output.
            reference_grids: The same of each given picture.
            dim: Number of features in all; zeros stand for a picture that is not there.

        Returns:
            For each given picture, at least once, (rows, patches, dim).
        """
        lacking = dim - self.output.shape[-1]
        if not lacking:
            return [self.output]
        parts = [
            resized(each, source, grid)
            for each, source in zip(self.references, reference_grids, strict=False)
        ]
        parts = parts or [self.output.new_zeros((*self.output.shape[:2], lacking))]
        return [torch.cat([self.output, part], dim=-1) for part in parts]


def resized(values: Tensor, grid: Grid, target: Grid) -> Tensor:
    """Map values of patches, (rows, patches, ...), to another grid by nearest neighbour."""
    if grid == target:
        return values
    picture = values.reshape(len(values), *grid, -1).movedim(-1, 1)
    mapped = F.interpolate(picture, size=target, mode="nearest-exact")
    return mapped.movedim(1, -1).reshape(len(values), target[0] * target[1], *values.shape[2:])
