"""Pictures and masks as data URIs, small enough to stand in a page."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EXACT = 96
"""Pictures of at most so many pixels on a side stay as they are, to the bit."""
SIDE = 256
"""Pixels on the longer side of a larger one."""
MASK = (255, 0, 128, 90)
"""Colour of the patches under a mask, with its opacity."""
OUTLINE = 8
"""Pixels of an outline's picture for each patch."""
LINE, FAINT = (255, 0, 128, 255), (255, 0, 128, 36)
"""Colours of an outline and of what it encloses."""


def picture_uri(picture: Image.Image, side: int = SIDE) -> str:
    """A picture as a data URI: PNG where it is small, else WebP of ``side`` pixels at most."""
    small = picture.convert("RGB")
    if max(small.size) <= EXACT:
        return _uri(small, "PNG")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    return _uri(small, "WEBP", quality=80)


def mask_uri(mask: NDArray[np.bool_]) -> str:
    """A mask (rows, columns) as a data URI, a pixel for each patch, to be laid over a picture."""
    pixels = np.zeros((*mask.shape, 4), dtype=np.uint8)
    pixels[mask] = MASK
    return _uri(Image.fromarray(pixels, "RGBA"), "PNG")


def outline_uri(mask: NDArray[np.bool_]) -> str:
    """The outline of a mask (rows, columns) as a data URI, to be laid over a picture."""
    inside = np.kron(mask, np.ones((OUTLINE, OUTLINE), dtype=bool))
    core = np.pad(inside, 1)  # Beyond the picture's edge nothing is inside.
    inner = inside & core[:-2, 1:-1] & core[2:, 1:-1] & core[1:-1, :-2] & core[1:-1, 2:]
    pixels = np.zeros((*inside.shape, 4), dtype=np.uint8)
    pixels[inside] = FAINT
    pixels[inside & ~inner] = LINE
    return _uri(Image.fromarray(pixels, "RGBA"), "PNG")


def data_uri(png: bytes) -> str:
    """A PNG as a data URI, to the bit."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def png_bytes(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    return _encoded(picture, "PNG")


def _uri(picture: Image.Image, kind: str, **options: Any) -> str:
    data = base64.b64encode(_encoded(picture, kind, **options)).decode()
    return f"data:image/{kind.lower()};base64,{data}"


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()
