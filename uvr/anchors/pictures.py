"""Read pictures and folders of labelled pictures, with errors that name the file."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import IO, ClassVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from concepts.errors import NotFoundError, UVRError
from concepts.files import open_file
from uvr.sample import Sample

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""What is decoded, whatever a file is called: of others, some start other programs."""
MAX_PIXELS = 50_000_000
"""Of one picture; it takes three bytes a pixel, and a file of a few kB can hold more."""
MASK, SOURCE = ".mask", ".source"
# Its decoders raise the last two for what is cut off or bent within a file.
_UNREADABLE = (
    UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError,
    struct.error,
)  # fmt: skip


class PictureError(UVRError):
    """A file is not a picture, or a folder does not hold the pictures that are needed."""

    exit_code: ClassVar[int] = 2


def read_picture(path: Path | str, mode: str = "RGB") -> Image.Image:
    """Read a picture whole.

    Raises:
        NotFoundError: There is no such file.
        PictureError: It is not a picture, or cut off, or has more than ``MAX_PIXELS``.
    """
    try:
        with open_file(Path(path)) as file:
            return decode_picture(file, f"'{path}'", mode)
    except FileNotFoundError as error:
        raise NotFoundError(f"No picture at '{path}'.") from error
    except OSError as error:
        raise PictureError(f"'{path}' cannot be read as a picture: {error}.") from error


def decode_picture(file: IO[bytes], name: str, mode: str = "RGB") -> Image.Image:
    """Decode a picture whole.

    Args:
        file: Its bytes.
        name: What an error calls it.
        mode: Of the picture.

    Raises:
        PictureError: It is not a picture, or cut off, or has more than ``MAX_PIXELS``.
    """
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise PictureError(
                    f"{name} has {_pixels(image)}: at most {MAX_PIXELS:,} are read. Make it "
                    "smaller; models draw and look at far fewer."
                )
            return _of_eight_bits(image).convert(mode)
    except _UNREADABLE as error:
        raise PictureError(f"{name} cannot be read as a picture: {error}.") from error


def read_samples(
    folder: Path | str, prompts: Sequence[str], *, masked: bool = False
) -> list[Sample]:
    """Read a folder of pictures: ``NAME.png``, and perhaps files beside it.

    ``NAME.mask.png`` is its mask, ``NAME.txt`` its prompt, and ``NAME.source.png`` the picture that
    the prompt, an instruction, edits into it.

    Args:
        folder: Pictures of any size and common format, taken in the order of their names; those in
            a folder inside it are of the kind that this is named.
        prompts: Used in turn for pictures without a ``NAME.txt`` that holds their prompt.
        masked: Whether each picture needs a mask: white where it shows the concept.

    Raises:
        NotFoundError: There is no such folder.
        PictureError: It holds no picture, or one without the mask it needs.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise NotFoundError(f"No folder of pictures at '{folder}'.")
    pictures = picture_files(folder)
    if not pictures:
        raise PictureError(f"The folder '{folder}' holds no picture ({', '.join(SUFFIXES)}).")
    return [
        _read_sample(path, kind, prompt, masked)
        for (path, kind), prompt in zip(pictures, cycle(prompts or ("",)), strict=False)
    ]


def picture_files(folder: Path) -> list[tuple[Path, str]]:
    """Return the pictures of a folder, and then of the folders in it, each with its kind."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir())
    return [
        (path, "" if place == folder else place.name)
        for place in (folder, *inside)
        for path in sorted(place.iterdir())
        if path.suffix.lower() in SUFFIXES and not path.stem.endswith((MASK, SOURCE))
    ]


def _read_sample(path: Path, kind: str, prompt: str, masked: bool) -> Sample:
    mask_path = path.with_name(f"{path.stem}{MASK}.png")
    if masked and not mask_path.is_file():
        raise PictureError(
            f"'{path}' has no mask: expected '{mask_path.name}' beside it, white where the "
            "picture shows the concept."
        )
    image = read_picture(path)
    mask = read_picture(mask_path, "L") if mask_path.is_file() else None
    if mask is not None and mask.size != image.size:
        raise PictureError(
            f"'{mask_path}' has {_pixels(mask)}, its picture {_pixels(image)}: a mask needs the "
            "size of its picture."
        )
    text = path.with_suffix(".txt")
    if text.is_file():
        prompt = text.read_text(encoding="utf-8").strip()
    source_path = path.with_name(f"{path.stem}{SOURCE}.png")
    source = read_picture(source_path) if source_path.is_file() else None
    return Sample(image, mask, prompt, str(path), kind, source)


def _of_eight_bits(image: Image.Image) -> Image.Image:
    """Return a grey picture of 16 bits with 8: converted as it is, nearly all would be white."""
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8), "L")


def _pixels(image: Image.Image) -> str:
    return f"{image.width} x {image.height} pixels"
