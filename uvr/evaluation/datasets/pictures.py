"""Pictures that a data set or a suite names, which must not lead out of their folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from concepts.errors import InputError, NotFoundError
from uvr.anchors.pictures import read_picture

MAX_BYTES = 64 << 20


def open_picture(folder: Path, name: str) -> Image.Image:
    """Open a picture by a name that is not to be trusted.

    Args:
        folder: Where it must be, in itself or in a folder inside it.
        name: A path from there.

    Raises:
        NotFoundError: There is none.
        InputError: The name leads out of the folder, or the file is too large.
        PictureError: The file is no picture.
    """
    root = folder.resolve()
    try:
        path = (root / name).resolve()
        there = path.is_file()
    except (ValueError, OSError, RuntimeError) as error:  # a zero byte, too long, links in a circle
        raise InputError(f"{name!r} is no path of a picture: {error}.") from error
    if not path.is_relative_to(root):
        raise InputError(
            f"{name!r} leads out of '{folder}', and only pictures inside it are read. If it is a "
            "link, as in a cache of Hugging Face, download the files themselves (--local-dir)."
        )
    if not there:
        raise NotFoundError(f"No picture {name!r} in '{folder}', which the data names.")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"The picture {name!r} has more than {MAX_BYTES >> 20} MiB.")
    return read_picture(path)
