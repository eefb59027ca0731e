"""Pictures that somebody gives to be kept, and their masks: decoded within limits, pixels alone."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from uvr.anchors.pictures import PictureError, decode_picture
from uvr.pages.picture import png_bytes

SIDE = 2048
"""Pixels on the longer side at most, as the registry keeps them; models look at far fewer."""
ORIENTATION = 0x0112
"""Of what EXIF tells: how a picture is turned to be seen."""
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_ON_ITS_SIDE = (_TURNS[5], _TURNS[6], _TURNS[7], _TURNS[8])
Box = tuple[float, float, float, float]
"""Left, top, width and height of a box as shares of its picture."""


def kept_pixels(data: bytes, name: str, mask: bytes | None = None) -> tuple[bytes, bytes | None]:
    """Return a picture and its mask as they are kept: PNGs of pixels alone, none too large.

    A picture is turned as it is meant to be seen, since what says so is not kept.

    Args:
        data: The file of the picture.
        name: What an error calls it.
        mask: The file of its mask, of the same size, white where it shows the concept.

    Raises:
        PictureError: One of them is no picture, or too large, or their sizes differ.
    """
    picture = decode_picture(io.BytesIO(data), name)
    turn = _turn_of(picture)
    size = picture.size[::-1] if turn in _ON_ITS_SIDE else picture.size
    # A mask is compared with all pixels, and a large picture held once.
    shown = None if mask is None else read_mask(mask, size, f"The mask of {name}")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if turn is not None:
        picture = picture.transpose(turn)
    picture = _bare(picture)
    return png_bytes(picture), None if shown is None else mask_bytes(shown, picture.size)


def read_mask(data: bytes, size: tuple[int, int], name: str) -> Image.Image:
    """Decode a mask, (width, height) as its picture; PictureError otherwise."""
    mask = decode_picture(io.BytesIO(data), name, "L")
    if mask.size != size:
        raise PictureError(
            f"{name} has {mask.width} x {mask.height} pixels, its picture {size[0]} x {size[1]}: "
            "a mask needs the size of its picture."
        )
    return mask


def mask_bytes(mask: Image.Image, size: tuple[int, int] | None = None) -> bytes:
    """Return a mask as it is kept, black or white, at a size of (width, height)."""
    grey = mask.convert("L").point(lambda value: 255 * (value > 127))
    bare = Image.new("L", grey.size)
    bare.paste(grey)
    return png_bytes(bare if size is None else bare.resize(size, Image.Resampling.NEAREST))


def box_mask(size: tuple[int, int], box: Box) -> Image.Image:
    """Return a mask of a picture's size, (width, height), that is white in a box."""
    left, top, width, height = box
    columns, rows = ((np.arange(count) + 0.5) / count for count in size)
    inside = np.logical_and(
        ((rows >= top) & (rows <= top + height))[:, None],
        ((columns >= left) & (columns <= left + width))[None, :],
    )
    return Image.fromarray(np.where(inside, 255, 0).astype(np.uint8), "L")


def _turn_of(picture: Image.Image) -> Image.Transpose | None:
    """Return how a picture is to be turned; None for not at all, or where that cannot be read."""
    try:
        return _TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error):
        return None  # As browsers show it.


def _bare(picture: Image.Image) -> Image.Image:
    bare = Image.new("RGB", picture.size)
    bare.paste(picture)
    return bare
