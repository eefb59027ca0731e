"""Ed25519 pairs: the public key that verifies and the private key that signs."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import cached_property

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from concepts.errors import VerificationError

KEY_BYTES = 32
# What DER writes before the key itself in a SubjectPublicKeyInfo of Ed25519 (RFC 8410).
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
FIELD = 2**255 - 19
# The y of the eight points whose order divides eight; two points share each of the last three.
# Everybody can sign for these: no private key is behind them.
SMALL_ORDER = {
    1: 1,
    FIELD - 1: 2,
    0: 4,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826: 8,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7: 8,
}


@dataclass(frozen=True)
class PublicKey:
    """An Ed25519 public key, 32 bytes.

    Raises:
        ValueError: If they are fewer or more, or a point that has no private key of its own:
            OpenSSL, as RFC 8032 allows, verifies by any point that it can decode.
    """

    raw: bytes

    def __post_init__(self) -> None:
        if not isinstance(self.raw, bytes) or len(self.raw) != KEY_BYTES:
            raise ValueError(f"an Ed25519 public key must have {KEY_BYTES} bytes")
        y = int.from_bytes(self.raw, "little") % 2**255  # The highest bit is the sign of x.
        if y >= FIELD:
            raise ValueError(
                "an Ed25519 public key must be encoded canonically, and this one is not: its y is "
                "not below 2^255 - 19, so that two texts would be one key"
            )
        if y in SMALL_ORDER:
            raise ValueError(
                f"this Ed25519 public key is a point of order {SMALL_ORDER[y]}: anyone could sign "
                "for it. Make one with `openssl genpkey -algorithm ed25519`"
            )

    @cached_property
    def key_id(self) -> str:
        """SHA-256 of the DER form: `openssl pkey -pubin -outform DER | openssl sha256`."""
        return hashlib.sha256(SPKI_PREFIX + self.raw).hexdigest()

    def pem(self) -> str:
        """Return the key as PEM text."""
        body = base64.b64encode(SPKI_PREFIX + self.raw).decode()
        return f"-----BEGIN PUBLIC KEY-----\n{body}\n-----END PUBLIC KEY-----\n"

    @classmethod
    def from_pem(cls, data: str | bytes) -> PublicKey:
        """Read PEM text; VerificationError if it is not an Ed25519 public key."""
        try:
            key = serialization.load_pem_public_key(_as_bytes(data))
        except (ValueError, UnsupportedAlgorithm) as error:
            raise VerificationError(
                "This is not a public key in PEM form. Write one with "
                "`openssl pkey -in KEY -pubout`."
            ) from error
        if not isinstance(key, Ed25519PublicKey):
            raise VerificationError(_other_type(key))
        try:
            return cls(key.public_bytes_raw())
        except ValueError as error:
            raise VerificationError(f"This key cannot be trusted: {error}.") from error

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether a signature over a message was made by this key's pair."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class PrivateKey:
    """An Ed25519 private key; ``public`` is its other half."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = PublicKey(key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"PrivateKey(of {self.public.key_id[:16]})"

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new pair from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_pem(cls, data: str | bytes, passphrase: str | bytes | None = None) -> PrivateKey:
        """Read PEM text.

        Raises:
            VerificationError: If the passphrase is wrong, or it is not an Ed25519 private key.
        """
        secret = None if passphrase is None else _as_bytes(passphrase)
        try:
            key = serialization.load_pem_private_key(_as_bytes(data), secret)
        except TypeError as error:  # The key is encrypted and there is no passphrase, or reverse.
            raise VerificationError(
                "The private key is encrypted and no passphrase is given."
                if secret is None
                else "A passphrase is given, and the private key is not encrypted. Give none."
            ) from error
        except (ValueError, UnsupportedAlgorithm) as error:
            raise VerificationError(
                "The private key cannot be read: its passphrase is wrong, or it is not a private "
                "key in PEM form. Make one with `openssl genpkey -algorithm ed25519`."
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise VerificationError(_other_type(key))
        return cls(key)

    def pem(self, passphrase: str | bytes | None = None) -> bytes:
        """Return the key as PKCS #8 PEM text, encrypted where a passphrase is given."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(_as_bytes(passphrase))
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature over a message."""
        return self._key.sign(message)


def _as_bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _other_type(key: object) -> str:
    return (
        f"The key is of another type ({type(key).__name__}), Ed25519 is expected. Make one with "
        "`openssl genpkey -algorithm ed25519`."
    )
