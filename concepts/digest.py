"""Canonical bytes and their SHA-256: JSON by RFC 8785, tensors by safetensors."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import rfc8785
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from concepts.errors import VerificationError

# The dtypes this project stores, by safetensors' names for them.
DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64"}
MAX_HEADER_BYTES = 1 << 20

Tensors = Mapping[str, NDArray[Any]]


def plain_json(value: Any) -> Any:
    """Return the value with tuples as lists and numpy scalars as Python's, ready for JSON."""
    if isinstance(value, Mapping):
        return {str(key): plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    if isinstance(value, np.generic):
        return plain_json(value.item())
    return value


def canonical_json(value: Any) -> bytes:
    """Encode a value as the one JSON text of RFC 8785.

    Raises:
        ValueError: For NaN, infinities, integers beyond 2**53 and values JSON does not know.
    """
    return rfc8785.dumps(plain_json(value))


def strict_json(data: bytes, what: str = "JSON") -> Any:
    """Decode JSON that holds no duplicate keys, NaN or infinity.

    Raises:
        VerificationError: If the bytes are anything else.
    """
    try:
        return json.loads(
            data.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"The {what} cannot be read: {error}.") from error


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def sha256(data: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return sha256(canonical_json(value))


def is_digest(value: object) -> bool:
    """Whether a value is 64 lower-case hex digits."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def tensors_digest(tensors: Tensors) -> str:
    """Return the SHA-256 over name, dtype, shape and bytes of each tensor, sorted by name."""
    total = hashlib.sha256()
    for name in sorted(tensors):
        array = _little_endian(tensors[name])
        # The header is self-delimiting, so that no two sets of tensors share one byte stream.
        total.update(canonical_json([name, array.dtype.name, list(array.shape), array.nbytes]))
        total.update(array.tobytes())
    return total.hexdigest()


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in DTYPES.values():
        raise ValueError(f"dtype {array.dtype} is not stored, only {', '.join(DTYPES.values())}")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))


def write_tensors(tensors: Tensors, metadata: Mapping[str, Any] | None = None) -> bytes:
    """Encode tensors as safetensors: the same tensors and metadata always give the same bytes.

    Args:
        tensors: Arrays of the dtypes in ``DTYPES``, finite.
        metadata: Any JSON; kept under one key, since several would be written in random order.
    """
    arrays = {name: _little_endian(tensors[name]) for name in sorted(tensors)}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"tensor '{name}' holds NaN or infinity")
    held = None if metadata is None else {"uvr": canonical_json(metadata).decode()}
    return save_safetensors(arrays, metadata=held)


def read_tensors(data: bytes) -> dict[str, NDArray[Any]]:
    """Decode safetensors strictly.

    Raises:
        VerificationError: For a broken file, a duplicate name, an unknown dtype, NaN or infinity.
    """
    _read_header(data)
    try:
        tensors: dict[str, NDArray[Any]] = load_safetensors(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise VerificationError(f"The tensor file is corrupt: {error}.") from error
    for name, array in tensors.items():
        if not np.isfinite(array).all():
            raise VerificationError(f"Tensor '{name}' holds NaN or infinity.")
    return tensors


def read_metadata(data: bytes) -> Any:
    """Return the metadata that ``write_tensors`` stored, None without any."""
    held = _read_header(data).get("__metadata__")
    if held is None:
        return None
    if not isinstance(held, dict) or set(held) != {"uvr"} or not isinstance(held["uvr"], str):
        raise VerificationError("The tensor file's metadata is not in this project's form.")
    return strict_json(held["uvr"].encode("utf-8", "surrogatepass"), "tensor file's metadata")


def _read_header(data: bytes) -> dict[str, Any]:
    size = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= size <= min(MAX_HEADER_BYTES, len(data) - 8):
        raise VerificationError("The tensor file is truncated or not a safetensors file.")
    header = strict_json(data[8 : 8 + size], "tensor file's header")
    if not isinstance(header, dict):
        raise VerificationError("The tensor file's header is not a JSON object.")
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
            raise VerificationError(f"Tensor '{name}' has a dtype this project does not store.")
    return header
