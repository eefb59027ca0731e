"""Envelopes: DSSE (Dead Simple Signing Envelope), a payload beside signatures over its exact bytes.

The signed text is DSSE's pre-authentication encoding (``pae``), which names the payload's type and
lengths, so that a signature of one kind of document is worth nothing for another.
Source: https://github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from concepts.canonical import canonical_json
from concepts.digest import is_digest
from concepts.document import read_document
from concepts.errors import VerificationError
from concepts.plain import require_keys

if TYPE_CHECKING:  # It brings cryptography, which reading an envelope does without.
    from concepts.signing.ed25519 import PrivateKey

BUNDLE_TYPE = "application/vnd.uvr.bundle+json"
KEYS_TYPE = "application/vnd.uvr.keys+json"
CHECKPOINT_TYPE = "application/vnd.uvr.checkpoint+json"
MAX_PAYLOAD_BYTES = 16 << 20
MAX_SIGNATURES = 64
SIGNATURE_BYTES = 64
# Base64 makes four bytes of three; a signature with its names takes less than 256.
MAX_ENVELOPE_BYTES = MAX_PAYLOAD_BYTES // 3 * 4 + MAX_SIGNATURES * 256 + 256


@dataclass(frozen=True)
class Signature:
    """One signature: who made it, as a key id (64 hex digits), and its 64 bytes."""

    key_id: str
    value: bytes

    def __post_init__(self) -> None:
        if not is_digest(self.key_id):
            raise ValueError("a key id must be 64 hex digits")
        if not isinstance(self.value, bytes) or len(self.value) != SIGNATURE_BYTES:
            raise ValueError(f"a signature must have {SIGNATURE_BYTES} bytes")


@dataclass(frozen=True)
class Envelope:
    """A payload and its signatures, sorted by key id; there may be none.

    Attributes:
        payload_type: What the payload is, such as ``BUNDLE_TYPE``.
        payload: The exact bytes that are signed.
        signatures: At most one of each key.
    """

    payload_type: str
    payload: bytes = field(repr=False)
    signatures: tuple[Signature, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "signatures", sorted_signatures(self.signatures))
        if not isinstance(self.payload_type, str) or not self.payload_type.isascii():
            raise ValueError("a payload type must be ASCII text")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise ValueError(
                f"a payload has {len(self.payload)} bytes, allowed: {MAX_PAYLOAD_BYTES}"
            )

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical_json(
            {
                "payload": _encode(self.payload),
                "payloadType": self.payload_type,
                "signatures": [
                    {"keyid": item.key_id, "sig": _encode(item.value)} for item in self.signatures
                ],
            }
        )

    def with_signatures(self, signatures: tuple[Signature, ...]) -> Envelope:
        """Return the envelope with signatures added; a key's older one gives way."""
        merged = {item.key_id: item for item in (*self.signatures, *signatures)}
        return Envelope(self.payload_type, self.payload, tuple(merged.values()))


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the text that is signed: DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *private_keys: PrivateKey) -> Envelope:
    """Put a payload into an envelope, signed by each of the keys."""
    text = pae(payload_type, payload)
    signatures = (Signature(key.public.key_id, key.sign(text)) for key in private_keys)
    return Envelope(payload_type, payload, tuple(signatures))


def read_envelope(data: bytes | memoryview, payload_type: str) -> Envelope:
    """Decode an envelope, strictly; its signatures are not checked.

    Raises:
        VerificationError: For any bytes but those that ``Envelope.to_bytes`` writes for this type.
    """
    envelope = read_document(data, "envelope", _decode, MAX_ENVELOPE_BYTES)
    if envelope.payload_type != payload_type:
        raise VerificationError(
            f"The envelope holds '{envelope.payload_type}', expected '{payload_type}'."
        )
    return envelope


def sorted_signatures(signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
    """Return signatures by key id; ValueError if there are too many, or two of one key."""
    found = tuple(sorted(signatures, key=lambda item: item.key_id))
    if len({item.key_id for item in found}) != len(found):
        raise ValueError("a key signed twice")
    if len(found) > MAX_SIGNATURES:
        raise ValueError(f"there are {len(found)} signatures, allowed: {MAX_SIGNATURES}")
    return found


def _decode(item: Any) -> Envelope:
    require_keys(item, ("payload", "payloadType", "signatures"))
    if not isinstance(item["signatures"], list):
        raise ValueError("signatures must be a list")
    signatures = []
    for entry in item["signatures"]:
        require_keys(entry, ("keyid", "sig"))
        signatures.append(Signature(entry["keyid"], _decode_base64(entry["sig"])))
    return Envelope(item["payloadType"], _decode_base64(item["payload"]), tuple(signatures))


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("base64 text is expected")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"it is not base64: {error}") from error
