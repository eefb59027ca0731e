"""The file of a backup: a ZIP archive without compression, written and read as a stream.

1. ``backup.json`` says which registry it is, which schema it has, how many rows each table has, and
   where the audit trail ends,
2. ``tables/<name>.jsonl`` holds the rows, one a line,
3. ``blobs/<digest>`` holds every blob that a row names.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from concepts.canonical import strict_json
from concepts.errors import NotFoundError, SchemaError, UVRError, VerificationError
from concepts.files import check_writable, open_file, replacing
from registry.store.db import HEAD

FORMAT = "uvr-backup/1"
ABOUT = "backup.json"
MAX_LINE = 64 << 20
MAX_ABOUT = MAX_LINE  # Each version may have its problem.
BATCH = 500
Progress = Callable[[int, int], None]


@contextmanager
def writing(path: Path) -> Iterator[zipfile.ZipFile]:
    """Write an archive beside its place, and put it there once it is whole and on disk."""
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise UVRError(f"'{path}' is not a file, so a backup cannot replace it. Name a file.")
    try:
        check_writable(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path, durable=True) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            yield archive
    except OSError as error:
        raise UVRError(f"Cannot write the backup '{path}': {error.strerror or error}.") from error


@contextmanager
def new_entry(archive: zipfile.ZipFile, name: str) -> Iterator[IO[bytes]]:
    """Write a file of an archive; the same content always gives the same bytes."""
    entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    entry.external_attr = 0o600 << 16
    with archive.open(entry, "w", force_zip64=True) as file:
        yield file


@contextmanager
def reading(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a backup; whatever is wrong with it is a VerificationError."""
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            names = [item.filename for item in archive.infolist()]
            if len(set(names)) != len(names):
                raise VerificationError("The backup is corrupt: a file occurs twice in it.")
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise VerificationError("The backup is corrupt: a file in it is compressed.")
            yield archive
    except FileNotFoundError as error:
        raise NotFoundError(f"No backup at '{path}'.") from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise VerificationError(f"The backup '{path}' is corrupt: {error}.") from error
    except OSError as error:
        raise VerificationError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def read_about(archive: zipfile.ZipFile) -> dict[str, Any]:
    """Return what a backup says of itself, strictly."""
    if ABOUT not in archive.namelist():
        raise VerificationError("This is not a backup: it has no backup.json.")
    with archive.open(ABOUT) as file:
        about = strict_json(file.read(MAX_ABOUT), "backup's description")
    if isinstance(about, dict):
        about.setdefault("problems", [])  # Older ones have no such list.
    names = {"format", "registry", "schema", "tables", "blobs", "events", "digest", "problems"}
    if not isinstance(about, dict) or set(about) != names or about["format"] != FORMAT:
        raise VerificationError(f"This is not a backup of format '{FORMAT}'.")
    problems = about["problems"]
    if not isinstance(problems, list) or not all(isinstance(item, str) for item in problems):
        raise VerificationError("The backup is corrupt: its problems are not a list of texts.")
    if about["schema"] != HEAD:
        raise SchemaError(
            f"The backup has schema {about['schema']}, this program works with {HEAD}. Restore it "
            "with the release of the program that made it, then migrate."
        )
    return about


def open_entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    """Open a file of an archive; VerificationError if there is none of that name."""
    try:
        return archive.open(name)
    except KeyError as error:
        raise VerificationError(f"The backup is corrupt: it has no file '{name}'.") from error
