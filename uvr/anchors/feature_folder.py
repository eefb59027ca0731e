"""A folder of features: what was captured of each batch, so that a stopped collection goes on.

All of it can be removed, and is captured anew then.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, MutableMapping
from io import BytesIO
from pathlib import Path

import numpy as np

from concepts.errors import UVRError
from concepts.files import replacing, unused
from uvr.anchors.capture import FeatureArray

DIGEST_BYTES = 32
"""Of the SHA-256 that ends a file: of all bytes before it."""


class FeatureFolder(MutableMapping[str, tuple[FeatureArray, ...]]):
    """Features of batches by their keys, a file each, mapped into memory where they are read.

    A file is whole on disk before it has its name, and ends in its own SHA-256: one that was cut
    off or changed counts as lacking, and so is captured anew. Each is read whole once to check it.

    Args:
        path: The folder, made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._checked: dict[str, tuple[int, ...]] = {}

    def __getitem__(self, key: str) -> tuple[FeatureArray, ...]:
        if key not in self:
            raise KeyError(key)
        return tuple(np.lib.format.open_memmap(self._file(key), mode="r"))

    def __setitem__(self, key: str, features: tuple[FeatureArray, ...]) -> None:
        file = self._file(key)
        self.path.mkdir(parents=True, exist_ok=True)
        shape = (len(features), *features[0].shape)
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        header = BytesIO()
        np.lib.format.write_array_header_1_0(header, about)
        digest = hashlib.sha256(header.getbuffer())
        with replacing(file, durable=True) as partial:
            partial.write(header.getbuffer())
            for kind in features:
                data = np.ascontiguousarray(kind, dtype="<f4").data
                digest.update(data)
                partial.write(data)
            partial.write(digest.digest())

    def __delitem__(self, key: str) -> None:
        try:
            self._file(key).unlink()
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or not (file := self._file(key)).is_file():
            return False
        about = file.stat()
        found = (about.st_ino, about.st_size, about.st_mtime_ns)
        if self._checked.get(key) != found:
            if not _is_sound(file):
                return False
            self._checked[key] = found
        return True

    def __iter__(self) -> Iterator[str]:
        return (file.stem for file in sorted(self.path.glob("*.npy")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def discard(self, keys: Iterable[str]) -> None:
        """Remove the features of some batches, unless a collection is under way that may read them.

        What it leaves stays for `gc`.
        """
        with unused(self.path) as is_free:
            for key in keys if is_free else ():
                self._file(key).unlink(missing_ok=True)

    @property
    def free(self) -> int:
        """Bytes that the disk has left."""
        nearest = next(place for place in (self.path, *self.path.parents) if place.exists())
        return shutil.disk_usage(nearest).free

    def require_room(self, needed: int) -> None:
        """Check that the disk has so many bytes left; UVRError otherwise."""
        if needed > self.free:
            raise UVRError(
                f"Features of this collection take {needed / 1e9:.1f} GB on the way, and the disk "
                f"of '{self.path}' has {self.free / 1e9:.1f} GB left. Make room (`uvr-registry gc` "
                "removes what stopped collections left), or draw fewer pictures: "
                "seeds_per_prompt in the definition."
            )

    def _file(self, key: str) -> Path:
        return self.path / f"{key}.npy"


def _is_sound(file: Path) -> bool:
    """Whether a file is as it was written: features of some kinds, finite numbers all."""
    try:
        data = np.memmap(file, np.uint8, "r")
        if hashlib.sha256(data[:-DIGEST_BYTES].data).digest() != data[-DIGEST_BYTES:].tobytes():
            return False
        kinds = np.lib.format.open_memmap(file, mode="r")
    except ValueError:  # It is empty, or no array.
        return False
    is_shaped = kinds.dtype == np.dtype("<f4") and kinds.ndim == 4
    return is_shaped and all(bool(np.isfinite(kind).all()) for kind in kinds)
