"""The files of indexes in a registry's folder: which are damaged, and which nothing uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from concepts.canonical import strict_json
from concepts.errors import VerificationError
from concepts.files import open_file, read_bytes
from registry.store.blobs import TEMPORARY


def damaged_indexes(folder: Path) -> Iterator[VerificationError]:
    """Return what is wrong with each index that cannot be used, in a sentence."""
    for description in sorted(folder.glob("*.json")):
        try:
            _described(description)
        except VerificationError as error:
            yield error


def stale_index_files(folder: Path) -> Iterator[Path]:
    """Return the files of damaged indexes, and those that no description names."""
    used = set()
    for description in sorted(folder.glob("*.json")):
        try:
            used.add(_described(description))
        except VerificationError:
            yield description
    yield from sorted({*folder.glob("*.faiss"), *folder.glob(f"{TEMPORARY}*")} - used)


def _described(description: Path) -> Path:
    """Return the index file that a description stands for; VerificationError if it is damaged."""
    try:
        about = strict_json(read_bytes(description), "index's description")
        path = description.with_name(f"{description.stem}-{about['sha256']}.faiss")
        with open_file(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        same = digest == about["sha256"]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise VerificationError(f"Index {description.stem[:12]} is incomplete.") from error
    if not same:
        raise VerificationError(f"Index {description.stem[:12]} is corrupt.")
    return path
