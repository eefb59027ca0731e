"""Key lists: which keys are trusted, how many must sign, and how one list follows another.

A new list follows an old one as TUF's root role does: it is signed by enough keys of the list
before and by enough of its own, so that a host that trusts any list can walk the chain to the
newest. A revoked key is never trusted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from concepts.canonical import canonical_json, strict_json
from concepts.digest import is_digest, sha256
from concepts.errors import SignatureError, VerificationError
from concepts.signing.ed25519 import PrivateKey, PublicKey
from concepts.signing.envelope import KEYS_TYPE, Envelope, require, sign

__all__ = ["KeyList", "PrivateKey", "PublicKey", "follow", "read_key_list", "sign_key_list"]

FORMAT = "uvr-keys/1"
MAX_KEYS = 64
MAX_VERSION = 9999  # A bundle's file names give a version four digits.
MAX_LIST_BYTES = 1 << 20


@dataclass(frozen=True)
class KeyList:
    """The keys that are trusted.

    Attributes:
        version: Number of the list, from 1; each list that follows counts one up.
        threshold: How many of the keys must sign.
        keys: The trusted keys, sorted by id.
        revoked: Ids of keys that are never trusted again, sorted.
    """

    version: int
    threshold: int
    keys: tuple[PublicKey, ...]
    revoked: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(sorted(self.keys, key=lambda key: key.key_id)))
        object.__setattr__(self, "revoked", tuple(sorted(self.revoked)))
        _check_count("version", self.version, MAX_VERSION)
        _check_count("threshold", self.threshold, MAX_KEYS)
        ids = {key.key_id for key in self.keys}
        if len(ids) != len(self.keys) or len(set(self.revoked)) != len(self.revoked):
            raise ValueError("a key is listed twice")
        if len(ids) > MAX_KEYS:
            raise ValueError(f"there are {len(ids)} keys, allowed: {MAX_KEYS}")
        if not all(is_digest(key_id) for key_id in self.revoked):
            raise ValueError("a revoked key is named by its id, 64 hex digits")
        if both := ids & set(self.revoked):
            raise ValueError(f"key {min(both)[:16]} is both listed and revoked")
        if self.threshold > len(ids):
            raise ValueError(f"{self.threshold} keys must sign, and only {len(ids)} are listed")

    @property
    def digest(self) -> str:
        """SHA-256 of the list's bytes."""
        return sha256(self.to_bytes())

    def find(self, key_id: str) -> PublicKey | None:
        """Return the trusted key of that id, None if there is none."""
        return next((key for key in self.keys if key.key_id == key_id), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "format": FORMAT,
            "version": self.version,
            "threshold": self.threshold,
            "keys": [key.raw.hex() for key in self.keys],
            "revoked": list(self.revoked),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> KeyList:
        """Read the JSON form; ValueError if a key is missing, unknown or of another type."""
        expected = {"format", "version", "threshold", "keys", "revoked"}
        if not isinstance(data, Mapping) or set(data) != expected:
            raise ValueError(f"a key list has exactly the keys {sorted(expected)}")
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r} found, '{FORMAT}' expected")
        for name in ("keys", "revoked"):
            if not isinstance(data[name], list) or not all(is_digest(key) for key in data[name]):
                raise ValueError(f"{name} must be a list of 64 hex digits each")
        keys = tuple(PublicKey(bytes.fromhex(key)) for key in data["keys"])
        return cls(data["version"], data["threshold"], keys, tuple(data["revoked"]))

    def to_bytes(self) -> bytes:
        """Encode as canonical JSON."""
        return canonical_json(self.to_dict())

    @classmethod
    def from_bytes(cls, data: bytes) -> KeyList:
        """Decode ``to_bytes``, strictly; VerificationError for anything else."""
        if len(data) > MAX_LIST_BYTES:
            raise VerificationError(
                f"The key list has {len(data)} bytes, allowed: {MAX_LIST_BYTES}."
            )
        try:
            keys = cls.from_dict(strict_json(data, "key list"))
            same = keys.to_bytes() == data
        except (ValueError, TypeError) as error:
            raise VerificationError(f"The key list is not valid: {error}.") from error
        if not same:
            raise VerificationError("The key list is not written as this project writes it.")
        return keys


def sign_key_list(new: KeyList, signers: Iterable[PrivateKey]) -> Envelope:
    """Put a key list into an envelope, signed by keys of the list before and by its own."""
    return sign(KEYS_TYPE, new.to_bytes(), *signers)


def follow(keys: KeyList, chain: Iterable[Envelope]) -> KeyList:
    """Walk a chain of signed key lists from a trusted one to the newest.

    Args:
        keys: The list that is trusted now; lists of the chain that are not newer are passed over.
        chain: Envelopes of key lists, oldest first.

    Raises:
        SignatureError: A list is not signed by enough keys of the list before and of its own.
        VerificationError: A version is left out, or a revocation is taken back.
    """
    for envelope in chain:
        new = read_key_list(envelope)
        if new.version <= keys.version:
            continue
        if new.version != keys.version + 1:
            raise VerificationError(
                f"Key list {keys.version} is trusted and key list {new.version} comes next; the "
                "lists between are missing. Take a newer bundle, or trust the new list by hand."
            )
        for signers in (keys, new):
            try:
                require(envelope, signers)
            except SignatureError as error:
                raise SignatureError(f"Key list {new.version}: {error}") from error
        if dropped := set(keys.revoked) - set(new.revoked):
            raise VerificationError(
                f"Key list {new.version} takes back the revocation of {min(dropped)[:16]}."
            )
        keys = new
    return keys


def read_key_list(envelope: Envelope) -> KeyList:
    """Return the key list in an envelope, without a look at the signatures."""
    if envelope.payload_type != KEYS_TYPE:
        raise VerificationError(f"'{envelope.payload_type}' is no key list ('{KEYS_TYPE}').")
    return KeyList.from_bytes(envelope.payload)


def _check_count(name: str, value: object, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ValueError(f"{name} must be a whole number from 1 to {most}, not {value!r}")
