"""Tensors as bytes: a strict, deterministic subset of safetensors, and digests of the content."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from concepts.canonical import canonical_json, strict_json
from concepts.errors import VerificationError

# The dtypes this project stores, by safetensors' names for them, in the order of its files.
DTYPES = {"I64": "int64", "F64": "float64", "F32": "float32", "I32": "int32", "F16": "float16"}
_CODES = {name: code for code, name in DTYPES.items()}
_LITTLE_ENDIAN = {code: np.dtype(name).newbyteorder("<") for code, name in DTYPES.items()}
MAX_HEADER_BYTES = 1 << 20
F16_EXPONENT = 0x7C00

Tensors = Mapping[str, NDArray[Any]]
Shapes = dict[str, tuple[str, tuple[int, ...]]]  # The dtype, as in DTYPES, and shape of a tensor.
Spans = dict[str, tuple[int, int]]  # Where the bytes of a tensor begin and end in its file.


def tensors_digest(tensors: Tensors) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of each tensor, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = _little_endian(tensors[name])
        # The header is self-delimiting, so that no two sets of tensors share one byte stream.
        total.update(canonical_json([name, array.dtype.name, list(array.shape), array.nbytes]))
        total.update(array.data)
    return total.hexdigest()


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in DTYPES.values():
        raise ValueError(f"dtype {array.dtype} is not stored, only {', '.join(DTYPES.values())}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def all_finite(array: NDArray[Any]) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    if array.dtype != np.float16 or not array.size:
        return bool(np.isfinite(array).all())
    # Seven times faster than isfinite: all bits of the exponent are set only in NaN and infinity.
    bits = array.view(np.uint16) & np.uint16(F16_EXPONENT)
    return bool(bits.max() < F16_EXPONENT)


def write_tensors(tensors: Tensors, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Encode tensors as safetensors: the same tensors and metadata always give the same bytes.

    The bytes are those of the safetensors library; written here, so that a digest does not depend
    on the library's release.

    Args:
        tensors: Arrays of the dtypes in ``DTYPES``, finite.
        metadata: Any JSON; kept under one key, since several would be written in random order.
    """
    arrays = {name: _little_endian(tensors[name]) for name in tensors}
    for name, array in arrays.items():
        if not all_finite(array):
            raise ValueError(f"tensor '{name}' holds NaN or infinity")
    held = None if metadata is None else {"uvr": canonical_json(metadata).decode()}
    shapes = {name: (_CODES[array.dtype.name], array.shape) for name, array in arrays.items()}
    header, spans = _layout(shapes, held)
    return b"".join((header, *(arrays[name].data for name in spans)))


def read_tensors(data: bytes | memoryview, *, finite: bool = True) -> dict[str, NDArray[Any]]:
    """Decode safetensors strictly: only bytes that ``write_tensors`` would write are accepted.

    Args:
        data: The file.
        finite: Refuse NaN and infinity; False leaves that to a caller who checks anyway.

    Returns:
        Arrays by name; they are views of the data where its alignment allows, and read-only.

    Raises:
        VerificationError: For a broken file, a duplicate name, an unknown dtype, NaN or infinity.
    """
    header = _header_bytes(data)
    shapes, spans = _read_layout(header)
    total = max((end for _, end in spans.values()), default=len(header))
    if total != len(data):
        raise VerificationError(
            f"The tensor file is corrupt: it has {len(data)} bytes, its header tells of {total}."
        )
    tensors = {name: _view(data, name, *shapes[name], spans[name]) for name in sorted(spans)}
    for name, array in tensors.items():
        if finite and not all_finite(array):
            raise VerificationError(f"Tensor '{name}' holds NaN or infinity.")
    return tensors


@lru_cache(maxsize=8)  # The scorers of a bundle have the same few headers.
def _read_layout(header: bytes) -> tuple[Shapes, Spans]:
    """Return each tensor's dtype and shape, and where its bytes lie."""
    found = _read_header(header)
    held = found.pop("__metadata__", None)
    try:
        shapes = {name: (item["dtype"], tuple(item["shape"])) for name, item in found.items()}
        expected, spans = _layout(shapes, held)
    except (ValueError, TypeError, LookupError) as error:
        raise VerificationError(f"The tensor file is corrupt: {error}.") from error
    if header != expected:
        raise VerificationError("The tensor file is corrupt: its header is not canonical.")
    return shapes, spans


def _view(
    data: bytes | memoryview, name: str, code: str, shape: tuple[int, ...], span: tuple[int, int]
) -> NDArray[Any]:
    array: NDArray[Any] = np.frombuffer(memoryview(data)[slice(*span)], _LITTLE_ENDIAN[code])
    try:
        array = array.reshape(shape)
    except ValueError as error:
        raise VerificationError(f"Tensor '{name}' has no such shape: {error}.") from error
    if not array.flags.aligned:
        array = array.copy()
    array.setflags(write=False)
    return array


def _layout(shapes: Shapes, held: Mapping[str, str] | None) -> tuple[bytes, Spans]:
    """Return the header of a tensor file and where each tensor's bytes lie, in their order."""
    if "__metadata__" in shapes:
        raise ValueError("a tensor cannot be named '__metadata__'")
    header: dict[str, Any] = {} if held is None else {"__metadata__": held}
    spans: Spans = {}
    end = 0
    for name in sorted(shapes, key=lambda name: (list(DTYPES).index(shapes[name][0]), name)):
        code, shape = shapes[name]
        if not all(type(size) is int and size >= 0 for size in shape):
            raise ValueError(f"tensor '{name}' has no shape")
        start, end = end, end + math.prod(shape) * np.dtype(DTYPES[code]).itemsize
        spans[name] = (start, end)
        header[name] = {"dtype": code, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    begin = 8 + len(text)
    return (
        struct.pack("<Q", len(text)) + text,
        {name: (begin + start, begin + end) for name, (start, end) in spans.items()},
    )


def read_metadata(data: bytes | memoryview) -> Any:
    """Return the metadata that ``write_tensors`` stored, None without any."""
    held = _read_header(_header_bytes(data)).get("__metadata__")
    if held is None:
        return None
    if not isinstance(held, dict) or set(held) != {"uvr"} or not isinstance(held["uvr"], str):
        raise VerificationError("The tensor file's metadata is not in this project's form.")
    return strict_json(held["uvr"].encode("utf-8", "surrogatepass"), "tensor file's metadata")


def _header_bytes(data: bytes | memoryview) -> bytes:
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= size <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise VerificationError("The tensor file is truncated or not a safetensors file.")
    return bytes(data[: 8 + size])


def _read_header(header: bytes) -> dict[str, Any]:
    found = strict_json(header[8:], "tensor file's header")
    if not isinstance(found, dict):
        raise VerificationError("The tensor file's header is not a JSON object.")
    for name, entry in found.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or str(entry.get("dtype")) not in DTYPES:
            raise VerificationError(f"Tensor '{name}' has a dtype this project does not store.")
    return found
