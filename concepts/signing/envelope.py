"""Envelopes: DSSE (Dead Simple Signing Envelope), a payload beside signatures over its exact bytes.

The signed text is DSSE's pre-authentication encoding (``pae``), which names the payload's type and
lengths, so that a signature of one kind of document is worth nothing for another.
Source: https://github.com/secure-systems-lab/dsse.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from concepts.canonical import canonical_json, strict_json
from concepts.digest import is_digest
from concepts.errors import SignatureError, VerificationError

if TYPE_CHECKING:  # keys.py builds on this module.
    from concepts.signing.keys import KeyList, PrivateKey

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

    def signed_by(self, keys: KeyList) -> list[str]:
        """Return the ids of the listed keys, none of them revoked, that signed this.

        Signatures of keys that are not listed are passed over, since a file may be signed for
        hosts that trust other keys.

        Raises:
            SignatureError: If a listed key's signature does not fit the payload.
        """
        text = pae(self.payload_type, self.payload)
        found = []
        for item in self.signatures:
            key = keys.find(item.key_id)
            if key is None:
                continue
            if not key.verify(text, item.value):
                raise SignatureError(f"The signature of key {item.key_id[:16]} is not valid.")
            found.append(item.key_id)
        return found

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


def require(envelope: Envelope, keys: KeyList) -> list[str]:
    """Return the ids of the trusted keys that signed an envelope.

    Raises:
        SignatureError: If they are fewer than the key list's threshold, or a signature is wrong.
    """
    found = envelope.signed_by(keys)
    if len(found) < keys.threshold:
        others = [item.key_id for item in envelope.signatures if item.key_id not in found]
        about = ", ".join(
            f"{key_id[:16]} ({'revoked' if key_id in keys.revoked else 'not trusted'})"
            for key_id in others
        )
        raise SignatureError(
            f"Signed by {len(found)} of the {keys.threshold} trusted keys required"
            f"{f'; also by {about}' if about else ''}. Take it from the registry whose keys you "
            "trust, or trust its keys first."
        )
    return found


def read_envelope(data: bytes | memoryview, payload_type: str) -> Envelope:
    """Decode an envelope, strictly; its signatures are not checked.

    Raises:
        VerificationError: For any bytes but those that ``Envelope.to_bytes`` writes for this type.
    """
    if len(data) > MAX_ENVELOPE_BYTES:
        raise VerificationError(
            f"The envelope has {len(data)} bytes, allowed: {MAX_ENVELOPE_BYTES}."
        )
    text = bytes(data)
    try:
        envelope = _decode(strict_json(text, "envelope"))
        same = envelope.to_bytes() == text
    except (ValueError, TypeError, LookupError) as error:
        raise VerificationError(f"The envelope is not valid: {error}.") from error
    if envelope.payload_type != payload_type:
        raise VerificationError(
            f"The envelope holds '{envelope.payload_type}', expected '{payload_type}'."
        )
    if not same:
        raise VerificationError("The envelope is not written as this project writes it.")
    return envelope


def sorted_signatures(signatures: tuple[Signature, ...]) -> tuple[Signature, ...]:
    """Return signatures by key id; ValueError if there are too many, or two of one key."""
    found = tuple(sorted(signatures, key=lambda item: item.key_id))
    if len({item.key_id for item in found}) != len(found):
        raise ValueError("a key signed twice")
    if len(found) > MAX_SIGNATURES:
        raise ValueError(f"there are {len(found)} signatures, allowed: {MAX_SIGNATURES}")
    return found


def _decode(item: object) -> Envelope:
    if not isinstance(item, dict) or set(item) != {"payload", "payloadType", "signatures"}:
        raise ValueError("payload, payloadType and signatures are expected")
    if not isinstance(item["signatures"], list):
        raise ValueError("signatures must be a list")
    signatures = []
    for entry in item["signatures"]:
        if not isinstance(entry, dict) or set(entry) != {"keyid", "sig"}:
            raise ValueError("a signature has a keyid and a sig")
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
