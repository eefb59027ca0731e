"""Write files that others read: whole or not at all."""

from __future__ import annotations

from pathlib import Path


def write_file(path: Path, data: bytes) -> None:
    """Write bytes to a file through a partial file beside it; make its folder if needed.

    Raises:
        OSError: The disk is full or the place cannot be written; an older file stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
