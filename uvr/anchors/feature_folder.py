"""A folder of features: what was captured of each batch, so that a stopped collection goes on.

All of it can be removed, and is captured anew then.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, MutableMapping
from pathlib import Path

import numpy as np

from concepts.errors import UVRError
from concepts.files import replacing
from uvr.anchors.capture import FeatureArray


class FeatureFolder(MutableMapping[str, tuple[FeatureArray, ...]]):
    """Features of batches by their keys, a file each, mapped into memory where they are read.

    A file is whole on disk before it has its name: zeros that a power cut left would pass for
    features.

    Args:
        path: The folder, made when something is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, key: str) -> tuple[FeatureArray, ...]:
        try:
            kinds = np.load(self._file(key), mmap_mode="r")
        except FileNotFoundError as error:
            raise KeyError(key) from error
        return tuple(kinds)

    def __setitem__(self, key: str, features: tuple[FeatureArray, ...]) -> None:
        file = self._file(key)
        self.path.mkdir(parents=True, exist_ok=True)
        shape = (len(features), *features[0].shape)
        about = {"descr": "<f4", "fortran_order": False, "shape": shape}
        with replacing(file, durable=True) as partial:
            np.lib.format.write_array_header_1_0(partial, about)
            for kind in features:
                partial.write(np.ascontiguousarray(kind, dtype="<f4").data)

    def __delitem__(self, key: str) -> None:
        try:
            self._file(key).unlink()
        except FileNotFoundError as error:
            raise KeyError(key) from error

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._file(key).is_file()

    def __iter__(self) -> Iterator[str]:
        return (file.stem for file in sorted(self.path.glob("*.npy")))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def discard(self, keys: Iterable[str]) -> None:
        """Remove the features of some batches, where they are still there."""
        for key in keys:
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
