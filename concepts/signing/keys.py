"""Key lists: which keys are trusted, how many must sign, and how one list follows another.

A new list follows an old one as TUF's root role does: it is signed by enough keys of the list
before and by enough of its own, so that a host that trusts any list can walk the chain to the
newest. A revoked key is never trusted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from concepts.canonical import canonical_json
from concepts.digest import is_digest, sha256
from concepts.document import read_document
from concepts.errors import SignatureError, VerificationError
from concepts.plain import check_count, require_format, require_keys
from concepts.signing.ed25519 import PrivateKey, PublicKey
from concepts.signing.envelope import KEYS_TYPE, Envelope, pae, sign

__all__ = ["KeyList", "PrivateKey", "PublicKey", "read_key_list", "sign_key_list"]

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
        check_count("version", self.version, MAX_VERSION)
        check_count("threshold", self.threshold, MAX_KEYS)
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

    def signers(self, envelope: Envelope) -> list[str]:
        """Return the ids of the listed keys, none of them revoked, that signed an envelope.

        Signatures of keys that are not listed are passed over, since a file may be signed for
        hosts that trust other keys.

        Raises:
            SignatureError: If a listed key's signature does not fit the payload.
        """
        text = pae(envelope.payload_type, envelope.payload)
        found = []
        for item in envelope.signatures:
            key = self.find(item.key_id)
            if key is None:
                continue
            if not key.verify(text, item.value):
                raise SignatureError(f"The signature of key {item.key_id[:16]} is not valid.")
            found.append(item.key_id)
        return found

    def require(self, envelope: Envelope) -> list[str]:
        """Return the ids of the listed keys that signed an envelope, if they are enough.

        Raises:
            SignatureError: If they are fewer than the threshold, or a signature is wrong.
        """
        found = self.signers(envelope)
        if len(found) < self.threshold:
            others = [item.key_id for item in envelope.signatures if item.key_id not in found]
            about = ", ".join(
                f"{key_id[:16]} ({'revoked' if key_id in self.revoked else 'not trusted'})"
                for key_id in others
            )
            raise SignatureError(
                f"Signed by {len(found)} of the {self.threshold} trusted keys required"
                f"{f'; also by {about}' if about else ''}. Take it from the registry whose keys "
                "you trust, or trust its keys first."
            )
        return found

    def follow(self, chain: Iterable[Envelope]) -> KeyList:
        """Walk a chain of signed key lists from this one, which is trusted, to the newest.

        Args:
            chain: Envelopes of key lists, oldest first; those that are not newer are passed over.

        Raises:
            SignatureError: A list is not signed by enough keys of the list before and of its own.
            VerificationError: A version is left out, or a revocation is taken back.
        """
        keys = self
        for envelope in chain:
            new = read_key_list(envelope)
            if new.version > keys.version:
                _check_next(keys, new, envelope)
                keys = new
        return keys

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
        require_keys(data, ("format", "version", "threshold", "keys", "revoked"))
        require_format(data["format"], FORMAT)
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
        return read_document(data, "key list", cls.from_dict, MAX_LIST_BYTES)


def sign_key_list(new: KeyList, signers: Iterable[PrivateKey]) -> Envelope:
    """Put a key list into an envelope, signed by keys of the list before and by its own."""
    return sign(KEYS_TYPE, new.to_bytes(), *signers)


def read_key_list(envelope: Envelope) -> KeyList:
    """Return the key list in an envelope, without a look at the signatures."""
    if envelope.payload_type != KEYS_TYPE:
        raise VerificationError(f"'{envelope.payload_type}' is no key list ('{KEYS_TYPE}').")
    return KeyList.from_bytes(envelope.payload)


def _check_next(keys: KeyList, new: KeyList, envelope: Envelope) -> None:
    if new.version != keys.version + 1:
        raise VerificationError(
            f"Key list {keys.version} is trusted and key list {new.version} comes next; the "
            "lists between are missing. Take a newer bundle, or trust the new list by hand."
        )
    for signers in (keys, new):
        try:
            signers.require(envelope)
        except SignatureError as error:
            raise SignatureError(f"Key list {new.version}: {error}") from error
    if dropped := set(keys.revoked) - set(new.revoked):
        raise VerificationError(
            f"Key list {new.version} takes back the revocation of {min(dropped)[:16]}."
        )
