"""The exact anchors of a stored set, read by position straight from its blob."""

from __future__ import annotations

import hashlib
import os
import struct
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from concepts.canonical import strict_json
from concepts.errors import VerificationError
from concepts.tensors import DTYPES, MAX_HEADER_BYTES


class Rows(Protocol):
    """Vectors by position, (n, dim): an array, or a file that reads what is asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> NDArray[Any]: ...


@dataclass(frozen=True)
class _Place:
    """Where in a blob its anchors lie, and which state of the file was checked."""

    stamp: tuple[int, int, int]
    start: int
    dtype: np.dtype[Any]


class StoredRows:
    """The anchors of one blob, (anchors, dim), by slice or by an array of positions.

    Nothing is read before it is needed. The first read checks the whole blob against its digest, a
    later one only that the file is still the same. Files are read, not mapped into memory: one
    that is cut short while it is mapped kills the process.
    """

    def __init__(self, path: Path, digest: str, anchors: int, dim: int) -> None:
        self.path, self.digest = path, digest
        self.shape: tuple[int, ...] = (anchors, dim)
        self._place: _Place | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> NDArray[np.float32]:
        """Read some rows, float32; VerificationError for a blob that is missing or damaged."""
        wanted = np.arange(len(self))[rows]
        try:
            with self.path.open("rb", buffering=0) as file:
                return self._read(file, wanted)
        except OSError as error:
            raise VerificationError(f"Blob {self.digest[:12]} cannot be read: {error}.") from error

    def _read(self, file: FileIO, wanted: NDArray[np.int64]) -> NDArray[np.float32]:
        place, stamp = self._place, _stamp(file)
        if place is None or place.stamp != stamp:
            place = self._place = self._checked(file, stamp)
        vectors = np.empty((len(wanted), self.shape[1]), dtype=place.dtype)
        width = vectors.strides[0]
        # Neighbours in the file are read at once.
        breaks = np.flatnonzero(np.diff(wanted) != 1) + 1
        for run in np.split(np.arange(len(wanted)), breaks):
            if run.size:
                part = vectors[run[0] : run[-1] + 1]
                offset = place.start + int(wanted[run[0]]) * width
                if os.preadv(file.fileno(), [part.data], offset) != part.nbytes:
                    raise self._corrupt()
        return vectors.astype(np.float32, copy=False)

    def _checked(self, file: FileIO, stamp: tuple[int, int, int]) -> _Place:
        if hashlib.file_digest(file, "sha256").hexdigest() != self.digest:
            raise self._corrupt()
        size = struct.unpack("<Q", os.pread(file.fileno(), 8, 0).ljust(8, b"\0"))[0]
        text = os.pread(file.fileno(), min(size, MAX_HEADER_BYTES), 8)
        entry = strict_json(text, "anchor file's header").get("anchors", {})
        if entry.get("shape") != list(self.shape):
            raise ValueError(
                f"blob {self.digest[:12]} holds anchors of shape {entry.get('shape')}, "
                f"not the {list(self.shape)} recorded"
            )
        dtype = np.dtype(DTYPES[entry["dtype"]]).newbyteorder("<")
        return _Place(stamp, 8 + size + entry["data_offsets"][0], dtype)

    def _corrupt(self) -> VerificationError:
        return VerificationError(
            f"Blob {self.digest[:12]} is corrupt: its bytes have another digest. "
            "Restore it from a backup, or collect the anchors again."
        )


def _stamp(file: FileIO) -> tuple[int, int, int]:
    about = os.fstat(file.fileno())
    return about.st_ino, about.st_size, about.st_mtime_ns
