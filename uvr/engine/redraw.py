"""What a picture is drawn again from, once a check found something in it.

1. From its own first latents, regulated from the first step on: what the look found, as before, and
   the place of what is left, ``FILLS`` times at most and one ring of patches larger each time.
2. Where that did not help, or the place is not known: once from other noise, looked at anew. The
   noise follows from the first latents, and takes nothing from the caller's generator. A picture
   that begins below full noise, as in image-to-image, has no other noise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from uvr.engine.check import Examined
from uvr.engine.generation import Generation
from uvr.engine.request import CannotRedrawError
from uvr.method.masks import dilate
from uvr.method.modulation import seeded_noise
from uvr.method.tokens import Grid
from uvr.report import ConceptFinding

FILLS = 2
"""How often a picture is drawn again from its own latents at most."""

NOISE_ALONE = 0.99
"""Latents at a noise level of so much hold nothing but noise."""


@dataclass(frozen=True)
class Redraw:
    """What one picture is drawn again from.

    Attributes:
        latents: What it begins with, (1, tokens, channels).
        mask: Patches to regulate, (1, patches), bool.
        afresh: Whether the latents are other noise: what is banned may come elsewhere, so the
            picture is looked at anew, and what the look finds is regulated besides.
    """

    latents: Tensor
    mask: Tensor
    afresh: bool = False


@dataclass(frozen=True)
class Places:
    """Where the concepts are that are left in a picture.

    Attributes:
        whole: Patches that cover them, as far as the check's features tell, (rows, columns).
        middles: Patches in the middle of them, as judges tell or as features match best.
    """

    whole: NDArray[np.bool_]
    middles: NDArray[np.bool_]


class Redraws:
    """The tries at one picture, each by what the check said of the one before.

    Args:
        generation: That drew the picture first.
        picture: Its place among the call's pictures.
    """

    def __init__(self, generation: Generation, picture: int) -> None:
        self._generation = generation
        self._grid = generation.layout.grid
        self._looked = generation.report.images[picture]
        self._latents = generation.first_latents[picture : picture + 1]
        self._known = Places(*np.zeros((2, *self._grid), dtype=bool))
        self._made: list[Redraw] = []

    def next(self, slugs: Collection[str], examined: Examined) -> Redraw | None:
        """What to draw the picture from next; None when all was tried.

        Args:
            slugs: Concepts that are left in it.
            examined: What the check said of it last.

        Raises:
            CannotRedrawError: There is no place to fill in, or filling in did not help, and there
                is no other noise either.
        """
        if self._made and self._made[-1].afresh:
            return None
        places = None
        if len(self._made) < FILLS:
            places = places_of(slugs, examined, self._looked, self._grid)
        redraw = self._afresh() if places is None else self._filled(places)
        self._made.append(redraw)
        return redraw

    def _filled(self, places: Places) -> Redraw:
        known = self._known = Places(
            self._known.whole | places.whole, self._known.middles | places.middles
        )
        before = _union((f.mask for f in self._looked if f.fired and f.enforced), self._grid)
        looked, rings = self._patches(before), len(self._made)
        mask = looked | self._around(known, rings)
        if torch.equal(mask, looked):  # It would be the same picture again.
            mask = looked | self._around(known, rings + 1)
        return Redraw(self._latents, mask.to(self._latents.device))

    def _around(self, places: Places, rings: int) -> Tensor:
        """Patches of things, with rings around them; a middle has one ring more."""
        whole, middles = self._patches(places.whole), self._patches(places.middles)
        return dilate(whole, self._grid, rings) | dilate(middles, self._grid, rings + 1)

    def _afresh(self) -> Redraw:
        generation = self._generation
        if generation.sigmas[generation.stage.first] < NOISE_ALONE:
            where = "" if self._made else "where it is in the picture is not known, and "
            raise CannotRedrawError(f"{where}it does not begin with noise alone")
        noise = seeded_noise(self._latents, self._latents.shape[2]).to(self._latents)
        mask = self._patches(self._known.whole | self._known.middles)
        return Redraw(noise, mask.to(noise.device), afresh=True)

    def _patches(self, mask: NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(mask).reshape(1, -1)


def places_of(
    slugs: Collection[str], examined: Examined, looked: Sequence[ConceptFinding], grid: Grid
) -> Places | None:
    """Where the concepts are that are left in a picture; None where nothing tells of any.

    A concept is where the check's features fired and where judges see it. One for which neither
    tells is where the look found it, or else where features match it best.

    Args:
        slugs: Concepts that are left in the picture.
        examined: What the check said of it.
        looked: What the look found.
        grid: Rows and columns of the patches.
    """
    left = [item for item in examined.findings if item.slug in slugs]
    whole = {item.slug: item.mask for item in left if item.fired}
    middles = [(item.slug, _hottest(item.heat, grid)) for item in examined.judgements
               if item.slug in slugs and item.heat is not None]  # fmt: skip
    for slug in set(slugs) - set(whole) - {slug for slug, _ in middles}:
        found = [item for item in (*looked, *left) if item.slug == slug]
        middles += [(slug, mask) for mask in map(_best, found) if mask is not None][:1]
    if not whole and not middles:
        return None
    return Places(_union(whole.values(), grid), _union((mask for _, mask in middles), grid))


def _best(item: ConceptFinding) -> NDArray[np.bool_] | None:
    """The mask of what fired, and of anything else the patches that match best, if known."""
    if item.fired:
        return item.mask
    best: NDArray[np.bool_] | None = None
    if item.scores is not None:
        best = item.scores == item.scores.max()
    return best


def _union(masks: Iterable[NDArray[np.bool_]], grid: Grid) -> NDArray[np.bool_]:
    union: NDArray[np.bool_] = np.logical_or.reduce([np.zeros(grid, dtype=bool), *masks])
    return union


def _hottest(heat: NDArray[np.float32], grid: Grid) -> NDArray[np.bool_]:
    """The patches with at least half of a heat map's highest value."""
    patches = F.adaptive_max_pool2d(torch.from_numpy(heat)[None], grid)[0]
    hot: NDArray[np.bool_] = (patches >= patches.max() / 2).numpy()
    return hot
