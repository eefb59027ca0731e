"""The FAISS index of one anchor space: a cache of the blobs, rebuilt whenever it may be stale.

``index/<space>.faiss`` holds unit vectors; ``index/<space>.json`` says which anchors they are
(the input digest) and which bytes the index has, since FAISS loads flipped bytes silently.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from concepts.digest import canonical_json, json_digest, sha256
from registry.store import write_atomically

FORMAT = "uvr-index/1"


@dataclass(frozen=True)
class IndexInput:
    """One anchor set of an index: whose, which, how many vectors."""

    slug: str
    version: int
    anchor_set: str
    anchors: int


def input_digest(space_digest: str, inputs: Sequence[IndexInput]) -> str:
    """Return the digest of everything an index is built from."""
    listed = [[item.slug, item.version, item.anchor_set, item.anchors] for item in inputs]
    return json_digest({"format": FORMAT, "space": space_digest, "inputs": listed})


def unit_vectors(vectors: NDArray[Any]) -> NDArray[np.float32]:
    """Scale rows to length 1, (n, dim), float32; rows of zeros stay zeros."""
    exact = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return np.ascontiguousarray(exact / np.where(norms > 0, norms, 1.0), dtype=np.float32)


def open_index(
    folder: Path,
    space_digest: str,
    inputs: Sequence[IndexInput],
    load: Callable[[IndexInput], NDArray[np.float32]],
) -> Any:
    """Return the index of a space, from its file when that is whole and current.

    Args:
        folder: Where index files lie.
        space_digest: The anchor space.
        inputs: The anchor sets, in the order of the index's rows.
        load: Reads the anchors of one input, (anchors, dim).
    """
    digest = input_digest(space_digest, inputs)
    file, sidecar = folder / f"{space_digest}.faiss", folder / f"{space_digest}.json"
    data = _read_current(file, sidecar, digest)
    if data is not None:
        return faiss.deserialize_index(np.frombuffer(data, dtype=np.uint8))
    index = _build(inputs, load)
    # The index is only a cache: where it cannot be written, it is built again next time.
    with contextlib.suppress(OSError):
        data = faiss.serialize_index(index).tobytes()
        about = {"format": FORMAT, "input": digest, "sha256": sha256(data)}
        write_atomically(file, data)
        write_atomically(sidecar, canonical_json(about))
    return index


def _read_current(file: Path, sidecar: Path, digest: str) -> bytes | None:
    try:
        about, data = json.loads(sidecar.read_bytes()), file.read_bytes()
    except (OSError, ValueError, RecursionError):
        return None
    current = {"format": FORMAT, "input": digest, "sha256": sha256(data)}
    return data if about == current else None


def _build(inputs: Sequence[IndexInput], load: Callable[[IndexInput], NDArray[np.float32]]) -> Any:
    parts = [unit_vectors(load(item)) for item in inputs]
    for item, part in zip(inputs, parts, strict=True):
        # FAISS takes NaN and any number of rows; a wrong row would shift every later hit.
        if part.shape[0] != item.anchors or not np.isfinite(part).all():
            raise ValueError(f"anchors of '{item.slug}' are not the {item.anchors} recorded")
    index = faiss.IndexFlatIP(parts[0].shape[1])
    for part in parts:
        index.add(part)
    return index
