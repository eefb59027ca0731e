"""From scores to masks: seeds, growth and clean-up on the patch grid. Pure functions.

UVR (arXiv 2606.06875), localisation: patches whose score reaches a threshold, closed and with their
holes filled. The reference release keeps the heaviest connected components, which drops the second
person of a picture, and fills holes up to the border, which turns a blob in a corner into a full
mask. Here a component stays when it holds a sure patch, and only what is enclosed is a hole.

Identities: keeping such components is morphological reconstruction, a dilation repeated under an
upper bound until nothing moves; a dilation is a 3 x 3 maximum, an erosion that of the complement.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from uvr.method.tokens import Grid

SPREADS = 8
"""Steps of growth between two looks at whether it has ended, each of which waits for the GPU."""


def seeds_and_growth(
    scores: Tensor,
    grid: Grid,
    seed_threshold: float | Tensor,
    grow_threshold: float | Tensor,
    *,
    close_gaps: bool = False,
    dilation: int = 0,
) -> Tensor:
    """Mask the connected patches that score high enough around at least one sure patch.

    A component of patches with score >= ``grow_threshold`` (8 neighbours) is kept whole when it
    holds a patch with score >= ``seed_threshold``. Every such component is kept: a second person in
    the picture is masked like the first.

    Args:
        scores: (batch, patches), row by row.
        grid: Rows and columns.
        seed_threshold: "score >= threshold is a match" for the start of a component; one for all,
            or (batch, 1).
        grow_threshold: The same for its neighbours; at most ``seed_threshold`` counts.
        close_gaps: Close gaps of up to two patches and fill enclosed holes.
        dilation: Patches to add around the result.

    Returns:
        Boolean mask, (batch, patches).
    """
    seeds = scores >= seed_threshold
    if not bool(seeds.any()):
        return seeds
    mask = reconstruct(seeds, seeds | (scores >= grow_threshold), grid)
    if close_gaps:
        mask = fill_holes(close_gaps_of(mask, grid), grid)
    return dilate(mask, grid, dilation)


def reconstruct(seeds: Tensor, allowed: Tensor, grid: Grid, *, diagonal: bool = True) -> Tensor:
    """Keep the connected components of ``allowed`` that hold a seed; both (batch, patches)."""
    current = seeds & allowed
    while True:
        before = current
        for _ in range(SPREADS):
            current = _spread(current, grid, diagonal=diagonal) & allowed
        if torch.equal(current, before):
            return current


def dilate(mask: Tensor, grid: Grid, times: int = 1) -> Tensor:
    """Add ``times`` rings of neighbours (8 of them) to a mask, (batch, patches)."""
    for _ in range(times):
        mask = _spread(mask, grid, diagonal=True)
    return mask


def erode(mask: Tensor, grid: Grid, times: int = 1) -> Tensor:
    """Take ``times`` rings off a mask; the border of the picture does not erode it."""
    return ~dilate(~mask, grid, times)


def close_gaps_of(mask: Tensor, grid: Grid) -> Tensor:
    """Close gaps of up to two patches (dilate, then erode), as on a canvas without a border."""
    rows, columns = grid
    canvas = (rows + 4, columns + 4)
    padded = F.pad(mask.reshape(-1, rows, columns), (2, 2, 2, 2)).flatten(1)
    closed = erode(dilate(padded, canvas), canvas).reshape(-1, *canvas)
    return closed[:, 2:-2, 2:-2].flatten(1)


def fill_holes(mask: Tensor, grid: Grid) -> Tensor:
    """Fill background that no path along the four sides connects to the outside of the picture.

    The grid is padded first, so that background cut off in a corner still touches the outside, and
    a blob in a corner never turns into a full mask.
    """
    rows, columns = grid
    background = F.pad(~mask.reshape(-1, rows, columns), (1, 1, 1, 1), value=True)
    padded = (rows + 2, columns + 2)
    outside = torch.ones_like(background)
    outside[:, 1:-1, 1:-1] = False
    reached = reconstruct(outside.flatten(1), background.flatten(1), padded, diagonal=False)
    inner = reached.reshape(-1, *padded)[:, 1:-1, 1:-1]
    return ~inner.flatten(1)


def resize_mask(mask: Tensor, grid: Grid, target: Grid) -> Tensor:
    """Map a mask, (batch, patches), to another grid by nearest neighbour."""
    if grid == target:
        return mask
    picture = mask.reshape(-1, 1, *grid).float()
    return F.interpolate(picture, size=target, mode="nearest-exact").flatten(1) > 0.5


def _spread(mask: Tensor, grid: Grid, *, diagonal: bool) -> Tensor:
    picture = mask.reshape(-1, 1, *grid).float()
    if diagonal:
        grown = F.max_pool2d(picture, 3, stride=1, padding=1)
    else:
        vertical = F.max_pool2d(picture, (3, 1), stride=1, padding=(1, 0))
        horizontal = F.max_pool2d(picture, (1, 3), stride=1, padding=(0, 1))
        grown = torch.maximum(vertical, horizontal)
    return grown.flatten(1) > 0.5
