"""The step from one key list to the next, and who must sign it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from concepts.errors import ConflictError, PolicyError, SignatureError, VerificationError
from concepts.signing.envelope import Envelope
from registry.store.models import SigningKey

if TYPE_CHECKING:  # They bring cryptography, which only signatures need.
    from concepts.signing.keys import KeyList, PrivateKey, PublicKey


def next_list(
    before: KeyList | None, named: Mapping[str, Sequence[SigningKey]], threshold: int | None
) -> KeyList:
    """Return the key list that follows another.

    Args:
        before: The list before, None for the first.
        named: Keys by what is asked of them: "add", "remove", "revoke".
        threshold: How many keys must sign from now on; as before when None.

    Raises:
        ConflictError: If nothing would change, or a key is already as asked for.
        PolicyError: If such a list is not allowed.
    """
    from concepts.signing.keys import KeyList  # noqa: PLC0415 (cryptography)

    listed = {key.key_id: key for key in before.keys} if before else {}
    revoked = set(before.revoked) if before else set()
    for row in named["add"]:
        if row.key_id in listed:
            raise ConflictError(f"Key '{row.name}' is listed already.")
        listed[row.key_id] = _read_key(row)
    for row in named["remove"]:
        if listed.pop(row.key_id, None) is None:
            raise ConflictError(f"Key '{row.name}' is not listed, so it cannot be removed.")
    for row in named["revoke"]:
        if row.key_id in revoked:
            raise ConflictError(f"Key '{row.name}' is revoked already.")
        listed.pop(row.key_id, None)
        revoked.add(row.key_id)
    asked = threshold if threshold is not None else before.threshold if before else 1
    if before and not any(named.values()) and asked == before.threshold:
        raise ConflictError("The key list already has exactly these keys and this threshold.")
    version = before.version + 1 if before else 1
    try:
        return KeyList(version, asked, tuple(listed.values()), tuple(revoked))
    except ValueError as error:
        raise PolicyError(f"Key list {version} is not allowed: {error}.") from error


def _read_key(row: SigningKey) -> PublicKey:
    from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

    key = PublicKey.from_pem(row.pem)
    if key.key_id != row.key_id:
        raise VerificationError(f"The stored key '{row.name}' does not match its id.")
    return key


def sign_rotation(before: KeyList | None, new: KeyList, signers: Sequence[PrivateKey]) -> Envelope:
    """Sign a key list with keys of the one before and of its own; PolicyError for too few."""
    from concepts.signing.keys import sign_key_list  # noqa: PLC0415 (cryptography)

    by_id = {key.public.key_id: key for key in signers}
    for key_id in by_id:
        if not any(keys.find(key_id) for keys in (before, new) if keys):
            raise PolicyError(
                f"Key {key_id[:16]} is in neither key list, so its signature says nothing. Sign "
                f"with keys of list {new.version}{' and the one before' if before else ''}."
            )
    envelope = sign_key_list(new, by_id.values())
    try:
        new.require(envelope)
        if before is not None:
            before.follow([envelope])
    except SignatureError as error:
        needed = f"{new.threshold} of its own keys"
        if before is not None:
            needed = f"{before.threshold} of the keys of list {before.version} and by {needed}"
        raise PolicyError(f"Key list {new.version} must be signed by {needed}.") from error
    return envelope
