"""SHA-256 digests of bytes and of canonical JSON."""

from __future__ import annotations

import hashlib
from typing import Any

from concepts.canonical import canonical_json


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of the bytes as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def json_digest(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON."""
    return sha256(canonical_json(value))


def is_digest(value: object) -> bool:
    """Whether a value is 64 lower-case hex digits."""
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
