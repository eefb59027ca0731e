"""Masks of what fired: grown from seeds on each picture's grid, and joined into the output's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from concepts.bundle import Member
from uvr.method.masks import resize_mask, seeds_and_growth
from uvr.method.tokens import Grid
from uvr.profiles import ModelProfile

LOWERED = 0.5
"""How far below the grow threshold what an instruction says and a given picture shows still joins
the mask, as a share of the way from the seed threshold to it."""

Pair = tuple[int, int]
"""A picture and a concept, by their places in the batch and among the members."""


@dataclass(frozen=True)
class ScoreMap:
    """Scores of the patches of one picture grid, (batch, concepts, patches)."""

    scores: Tensor
    grid: Grid


def masks_of(
    each: ScoreMap, fired: Sequence[Pair], members: Sequence[Member], profile: ModelProfile
) -> Tensor:
    """Masks of what fired, (fired, patches), all grown together; empty where no patch is a seed."""
    seed, grow = _thresholds(fired, members, each.scores.device)
    return seeds_and_growth(
        rows_of(each.scores, fired),
        each.grid,
        seed,
        grow,
        close_gaps=profile.close_gaps,
        dilation=profile.dilation,
    )


def where_it_comes_back(
    found: Sequence[Tensor],
    maps: Sequence[ScoreMap],
    fired: Sequence[Pair],
    members: Sequence[Member],
) -> list[Tensor]:
    """Add to masks of the output the places where a given picture shows the same concept.

    An instruction that says a concept draws it again where the given picture shows it, though that
    is turned down. Where the output's own score, there or anywhere, does not say so, nothing need
    be filled in, and what an edit puts in the place of the concept can be drawn. What an
    instruction says and the picture shows is drawn a second time beside the mask, so that the
    output's mask takes in what scores somewhat less, anywhere in it (``LOWERED``).

    Args:
        found: For each map the masks of what fired, (fired, its patches).
        maps: Of the output, then of each given picture.
        fired: Pictures and concepts that fired.
        members: The concepts.
    """
    if len(found) < 2:
        return list(found)
    output, *given = found
    seed, grow = _thresholds(fired, members, output.device)
    scores = rows_of(maps[0].scores, fired)
    places = [
        resize_mask(mask, each.grid, maps[0].grid)
        for mask, each in zip(given, maps[1:], strict=True)
    ]
    place = torch.stack(places).any(dim=0)
    said = (output | ((scores >= grow) & place)).any(dim=1, keepdim=True)
    named = said & place.any(dim=1, keepdim=True)
    less = scores >= grow - LOWERED * (seed - grow)
    return [output | (said & place) | (named & less), *given]


def in_output(
    found: Sequence[Tensor], maps: Sequence[ScoreMap], fired: Sequence[Pair]
) -> dict[Pair, NDArray[np.bool_]]:
    """Masks of what fired, of the output and all given pictures together, (rows, columns) each."""
    if not fired:
        return {}
    grid = maps[0].grid
    masks = found[0]
    for mask, each in zip(found[1:], maps[1:], strict=True):
        masks = masks | resize_mask(mask, each.grid, grid)
    return dict(zip(fired, masks.reshape(-1, *grid).cpu().numpy(), strict=True))


def union_of(
    each: ScoreMap, masks: Tensor | None, fired: Sequence[Pair], enforced: Sequence[bool]
) -> Tensor:
    """Patches of one grid that enforced concepts fired at, (batch, patches), bool."""
    union = torch.zeros_like(each.scores[:, 0], dtype=torch.bool)
    if masks is not None:
        for (picture, _), mask, counts in zip(fired, masks, enforced, strict=True):
            if counts:
                union[picture] |= mask
    return union


def rows_of(scores: Tensor, pairs: Sequence[Pair]) -> Tensor:
    """Scores of some pictures and concepts, (pairs, patches)."""
    index = torch.tensor(pairs, device=scores.device)
    return scores[index[:, 0], index[:, 1]]


def _thresholds(
    fired: Sequence[Pair], members: Sequence[Member], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Seed and grow threshold of what fired, (fired, 1) each, float32."""
    pairs = [
        (members[concept].seed_threshold, members[concept].grow_threshold) for _, concept in fired
    ]
    both = torch.tensor(pairs, dtype=torch.float32, device=device)
    return both[:, :1], both[:, 1:]
