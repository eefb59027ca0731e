"""Variants of reference pictures: the concept smaller, cut off, elsewhere, mirrored, recoloured.

Reference pictures tend to show a concept large, whole and in the middle. Picture, mask and the
picture before an edit change together. What lies outside a picture has the median colour of its
border, the concept left out: a plain ground, which repeats nothing of the concept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

from uvr.sample import Sample

Rectangle = tuple[float, float, float, float]
"""Left, top, right and bottom as shares of a picture's width and height; 0 and 1 are its edges."""
Colour = tuple[int, ...]


@dataclass(frozen=True)
class Variant:
    """A changed picture.

    Attributes:
        kind: One of ``KINDS``.
        of: Place of the picture that it was made from.
        sample: Picture and mask; without a name, as nobody gave it.
    """

    kind: str
    of: int
    sample: Sample


def make_variants(samples: Sequence[Sample], kinds: Sequence[str], seed: int) -> Iterator[Variant]:
    """Yield a variant of each kind of each picture whose mask covers something.

    A variant depends on its picture, its place, its kind and the seed alone, so that a collection
    can be repeated, and the same ones come with other kinds beside them.

    Raises:
        ValueError: There is no such kind.
    """
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"no variants of kind {unknown[0]!r}; there are {', '.join(KINDS)}")
    for kind in kinds:
        for place, sample in enumerate(samples):
            shown = shown_by(sample)
            if shown.any():
                rng = np.random.default_rng([seed, place, *kind.encode()])
                yield Variant(kind, place, KINDS[kind](_plain(sample, shown), rng))


def shown_by(sample: Sample) -> NDArray[np.bool_]:
    """Pixels that a sample's mask covers, (height, width); none without a mask."""
    if sample.mask is None:
        return np.zeros(sample.image.size[::-1], dtype=bool)
    pixels = np.asarray(sample.mask)
    return (pixels.max(axis=2) if pixels.ndim == 3 else pixels) > 0


def _plain(sample: Sample, shown: NDArray[np.bool_]) -> Sample:
    """The sample without its name, in colours, its mask a picture in gray."""
    source = sample.source
    return replace(
        sample,
        image=sample.image.convert("RGB"),
        mask=Image.fromarray(shown.astype(np.uint8) * 255),
        source=None if source is None else source.convert("RGB"),
        name="",
    )


def _smaller(sample: Sample, rng: Generator) -> Sample:
    """The whole picture at 45 to 75% of its size, anywhere on plain ground."""
    side = 1 / rng.uniform(0.45, 0.75)
    left, top = rng.uniform(1 - side, 0, 2)
    return _seen_through(sample, (left, top, left + side, top + side))


def _moved(sample: Sample, rng: Generator) -> Sample:
    """The concept anywhere in the picture, whole."""
    left, top, right, bottom = _box(sample)
    return _shifted(sample, rng.uniform(right - 1, left), rng.uniform(bottom - 1, top))


def _cropped(sample: Sample, rng: Generator) -> Sample:
    """The concept at one edge, a quarter to half of its width or height cut off."""
    left, top, right, bottom = _box(sample)
    cut, edge = rng.uniform(0.25, 0.5), rng.integers(4)
    x, y = rng.uniform(right - 1, left), rng.uniform(bottom - 1, top)
    if edge < 2:
        x = left + cut * (right - left) if edge == 0 else right - cut * (right - left) - 1
    else:
        y = top + cut * (bottom - top) if edge == 2 else bottom - cut * (bottom - top) - 1
    return _shifted(sample, x, y)


def _flipped(sample: Sample, rng: Generator) -> Sample:
    """Left and right exchanged."""
    del rng
    mirror = Image.Transpose.FLIP_LEFT_RIGHT
    return _changed(sample, lambda picture: picture.transpose(mirror))


def _recoloured(sample: Sample, rng: Generator) -> Sample:
    """All hues turned by an eighth of the circle or more, and 75 to 125% of the brightness."""
    turn, light = int(rng.integers(32, 225)), rng.uniform(0.75, 1.25)
    tones = [(tone + turn) % 256 for tone in range(256)]
    lights = [min(255, round(tone * light)) for tone in range(256)]

    def recoloured(picture: Image.Image) -> Image.Image:
        if picture.mode == "L":  # the mask
            return picture
        return picture.convert("HSV").point([*tones, *range(256), *lights]).convert("RGB")

    return _changed(sample, recoloured)


KINDS: dict[str, Callable[[Sample, Generator], Sample]] = {
    "smaller": _smaller,
    "cropped": _cropped,
    "moved": _moved,
    "flipped": _flipped,
    "recoloured": _recoloured,
}
USUAL_KINDS: tuple[str, ...] = ()
"""Kinds that are made where nobody says others: none, as docs/measured.md says why."""


def _changed(sample: Sample, change: Callable[[Image.Image], Image.Image]) -> Sample:
    """Change picture, mask and source in the same way."""
    mask, source = sample.mask, sample.source
    return replace(
        sample,
        image=change(sample.image),
        mask=change(mask) if isinstance(mask, Image.Image) else mask,
        source=None if source is None else change(source),
    )


def _shifted(sample: Sample, left: float, top: float) -> Sample:
    return _seen_through(sample, (left, top, left + 1, top + 1))


def _seen_through(sample: Sample, window: Rectangle) -> Sample:
    """What a window shows, at the size of the picture."""
    ground = _ground(sample)

    def seen(picture: Image.Image) -> Image.Image:
        mask = picture.mode == "L"
        resample = Image.Resampling.NEAREST if mask else Image.Resampling.BICUBIC
        left, top, right, bottom = (
            share * side for share, side in zip(window, 2 * picture.size, strict=True)
        )
        corner = floor(left), floor(top)
        size = ceil(right) - corner[0], ceil(bottom) - corner[1]
        canvas = Image.new(picture.mode, size, 0 if mask else ground)
        canvas.paste(picture, (-corner[0], -corner[1]))
        box = (left - corner[0], top - corner[1], right - corner[0], bottom - corner[1])
        return canvas.resize(picture.size, resample, box)

    return _changed(sample, seen)


def _ground(sample: Sample) -> Colour:
    """Median colour of the border, where it does not show the concept if there is such a place."""
    pixels = np.asarray(sample.image)
    edge = np.ones(pixels.shape[:2], dtype=bool)
    edge[1:-1, 1:-1] = False
    free = edge & ~np.asarray(Image.fromarray(shown_by(sample)).resize(sample.image.size))
    colour = np.median(pixels[free if free.any() else edge], axis=0)
    return tuple(int(channel) for channel in colour)


def _box(sample: Sample) -> Rectangle:
    """Where the concept is."""
    shown = shown_by(sample)
    height, width = shown.shape
    columns, rows = np.flatnonzero(shown.any(axis=0)), np.flatnonzero(shown.any(axis=1))
    return (
        columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height,
    )  # fmt: skip
