"""Pictures that were kept on purpose: PNG files of pixels alone, which only their owner may open.

They lie beside the blobs and are none: no digest of a version covers them, no backup holds them,
and they are deleted as soon as nothing names them.
"""

from __future__ import annotations

import struct
from pathlib import Path

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from concepts.errors import InputError
from registry.store.blobs import BlobStore
from registry.store.db import open_session
from registry.store.home import EXEMPLARS, SCORED
from registry.store.models import KeptExemplarRow

SIDE = 2048
"""Pixels on the longer side of a kept picture at most; models look at far fewer."""
MAX_BYTES = 16 << 20
"""Of one file; so many pixels never take more."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}


def picture_store(home: Path) -> BlobStore:
    """The pictures of a registry's folder, by the SHA-256 of each file."""
    return BlobStore(home / EXEMPLARS, private=True)


def png_size(data: bytes, what: str) -> tuple[int, int]:
    """Return width and height of a PNG that holds pixels alone.

    Args:
        data: The file; its pixels are not decoded.
        what: What an error calls it.

    Raises:
        InputError: It is no such PNG, or has more than ``SIDE`` pixels on a side.
    """
    kinds, place = [], len(_SIGNATURE)
    while place + 12 <= len(data) and len(data) <= MAX_BYTES:
        length, kind = struct.unpack_from(">I4s", data, place)
        kinds.append(kind)
        place += length + 12
    whole = data.startswith(_SIGNATURE) and place == len(data) and set(kinds) <= _PIXELS
    if not (whole and kinds and (kinds[0], kinds[-1]) == (b"IHDR", b"IEND")):
        raise InputError(f"{what} is not kept as it is: a PNG of pixels alone was expected.")
    width, height = struct.unpack_from(">II", data, len(_SIGNATURE) + 8)
    if not 1 <= min(width, height) <= max(width, height) <= SIDE:
        raise InputError(f"{what} has {width} x {height} pixels; kept are at most {SIDE} a side.")
    return width, height


def named_pictures(session: Session) -> set[str]:
    """Return the digests of the files that rows name."""
    columns = (KeptExemplarRow.picture, KeptExemplarRow.mask)
    return {digest for column in columns for digest in session.scalars(select(column)) if digest}


def unnamed_pictures(session: Session, home: Path) -> list[Path]:
    """Return the files that no row names: pictures, masks, and what versions made of them."""
    store, named = picture_store(home), named_pictures(session)
    kept = [store.path(digest) for digest in store.digests() if digest not in named]
    scores = sorted((home / SCORED).glob("*/*"))
    return [*kept, *(path for path in scores if path.name.partition(".")[0] not in named)]


def sweep_pictures(engine: Engine, home: Path) -> int:
    """Delete the files that no row names; return how many.

    It takes the write lock, so that no row can come to name a file while it goes, and comes after
    the change that let go of it was kept: no row is left whose picture is gone.
    """
    with open_session(engine, write=True) as session:
        files = [*unnamed_pictures(session, home), *picture_store(home).temporaries()]
        for path in files:
            path.unlink(missing_ok=True)
        return len(files)
