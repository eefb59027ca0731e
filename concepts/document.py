"""Documents: JSON texts that are read back only if they are, to the byte, what was written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from concepts.canonical import strict_json
from concepts.errors import VerificationError


class Document(Protocol):
    """What has one JSON text."""

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""


SomeDocument = TypeVar("SomeDocument", bound=Document)


def read_document(
    data: bytes | memoryview, what: str, decode: Callable[[Any], SomeDocument], most: int
) -> SomeDocument:
    """Decode a document, strictly.

    Args:
        data: The text.
        what: What to call it in errors, such as "key list".
        decode: Makes it of plain values; raises ValueError, TypeError or LookupError for others.
        most: A longer text is refused unread.

    Raises:
        VerificationError: For any bytes but those that its ``to_bytes`` writes.
    """
    if len(data) > most:
        raise VerificationError(f"The {what} has {len(data)} bytes, allowed: {most}.")
    text = bytes(data)
    try:
        found = decode(strict_json(text, what))
        same = found.to_bytes() == text
    except (ValueError, TypeError, LookupError) as error:
        raise VerificationError(f"The {what} is not valid: {error}.") from error
    if not same:
        raise VerificationError(f"The {what} is not written as this project writes it.")
    return found
