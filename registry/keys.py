"""Keys that sign releases: public halves by name, and the list of those that may sign now.

A key is added by name, then put on the list by a rotation, which keys of the list before and of
the new one sign. Engines that trust any list follow the rotations to the newest; see
``concepts.signing.keys``. Private halves are used and never stored.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.bundle.member import check_name
from concepts.errors import (
    ConflictError,
    InputError,
    NotFoundError,
    PolicyError,
    SignatureError,
    VerificationError,
    did_you_mean,
)
from concepts.signing.envelope import Envelope
from registry.answers import ReleaseInfo
from registry.change.work import Work
from registry.releases.release import find_release, read_bundle_of, release_info
from registry.releases.signatures import add_signatures, current_keys, key_chain
from registry.store.models import KeyListRow, SigningKey

if TYPE_CHECKING:
    from concepts.signing.keys import KeyList, PrivateKey, PublicKey
    from registry.registry import Registry


@dataclass(frozen=True)
class KeyInfo:
    """A public key that the registry knows.

    Attributes:
        name: Its name here.
        key_id: SHA-256 of its DER form.
        state: "listed" when it may sign now, "unlisted", or "revoked".
        pem: The key as PEM text.
        created_at: When it was added.
        created_by: By whom.
    """

    name: str
    key_id: str
    state: str
    pem: str
    created_at: str
    created_by: str


class Keys:
    """The signing keys of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def add(self, name: str, key: PublicKey, *, actor: str) -> KeyInfo:
        """Add a public key by name; it may sign once a rotation lists it.

        Raises:
            ConflictError: If the name or the key is taken.
            InputError: If the name is not one.
        """
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"The key's name is not valid: {error}.") from error
        with self._registry.work(actor, "admin") as unit:
            for row in unit.session.scalars(select(SigningKey)):
                if name == row.name or key.key_id == row.key_id:
                    raise ConflictError(
                        f"Key '{row.name}' ({row.key_id[:16]}) exists. Use another name and key."
                    )
            row = SigningKey(key_id=key.key_id, name=name, pem=key.pem())
            row.created_at, row.created_by = unit.at, actor
            unit.session.add(row)
            unit.record("key.add", name, key_id=key.key_id)
            return _info(row, None)

    def list(self) -> builtins.list[KeyInfo]:
        """Return all keys, by name."""
        with self._registry.read() as opened:
            current = current_keys(opened)
            found = [_info(row, current) for row in opened.scalars(select(SigningKey))]
        return sorted(found, key=lambda item: item.name)

    def current(self) -> KeyList | None:
        """Return the key list that engines should trust, None before the first rotation."""
        with self._registry.read() as opened:
            return current_keys(opened)

    def chain(self) -> builtins.list[Envelope]:
        """Return every signed key list, oldest first."""
        with self._registry.read() as opened:
            return [*key_chain(opened)]

    def rotate(
        self,
        *,
        actor: str,
        signers: Sequence[PrivateKey],
        add: Iterable[str] = (),
        remove: Iterable[str] = (),
        revoke: Iterable[str] = (),
        threshold: int | None = None,
    ) -> KeyList:
        """Make the next key list from the current one.

        Args:
            actor: Who does it.
            signers: Private keys that sign it: as many as the list before asks for, of its keys,
                and as many as the new one asks for, of its own. The first list needs only its own.
            add: Names of keys to list.
            remove: Names of keys to take off; they may come back.
            revoke: Names of keys never to trust again.
            threshold: How many keys must sign from now on; as before when left out.

        Raises:
            NotFoundError: If there is no key of such a name.
            ConflictError: If nothing would change, or a key is already as asked for.
            PolicyError: If the list cannot be, or is not signed by enough keys.
        """
        with self._registry.work(actor, "admin") as unit:
            before = current_keys(unit.session)
            named = {
                verb: [_find(unit.session, name) for name in dict.fromkeys(names)]
                for verb, names in (("add", add), ("remove", remove), ("revoke", revoke))
            }
            new = _next_list(before, named, threshold)
            envelope = _sign(before, new, signers)
            _store(unit, new, envelope)
            unit.record(
                "key.rotate", f"keys@{new.version}", digest=new.digest, threshold=new.threshold,
                signed_by=[item.key_id for item in envelope.signatures],
                **{verb: sorted(row.name for row in rows) for verb, rows in named.items()},
            )  # fmt: skip
            return new

    def sign(
        self,
        bundle_name: str,
        sequence: int | None = None,
        *,
        actor: str,
        keys: Sequence[PrivateKey],
    ) -> ReleaseInfo:
        """Add signatures to a release, the newest by default.

        Raises:
            NotFoundError: If there is no such bundle or release.
            PolicyError: If a key is not in the current key list, or was not listed yet when the
                release was made.
            ConflictError: If a key signed the release before.
            VerificationError: If the release's stored bytes are damaged.
        """
        if not keys:
            raise ValueError("keys must hold one or more private keys")
        with self._registry.work(actor, "publisher") as unit:
            row, release = find_release(unit.session, bundle_name, sequence)
            bundle = read_bundle_of(unit.session, self._registry.store, row, release)
            signed = add_signatures(unit, release, bundle, keys)
            unit.record(
                "release.sign", f"{row.name}#{release.sequence}",
                bundle_digest=release.bundle_digest, signed_by=signed,
            )  # fmt: skip
            return release_info(unit.session, row, release)


def _find(opened: Session, name: str) -> SigningKey:
    row = opened.scalars(select(SigningKey).filter_by(name=name)).first()
    if row is None:
        known = opened.scalars(select(SigningKey.name)).all()
        raise NotFoundError(
            f"No key '{name}'.{did_you_mean(name, known)} Add it first: `uvr-registry key add`."
        )
    return row


def _next_list(
    before: KeyList | None, named: dict[str, list[SigningKey]], threshold: int | None
) -> KeyList:
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
        raise ConflictError("The key list is already like that.")
    version = before.version + 1 if before else 1
    try:
        return KeyList(version, asked, tuple(listed.values()), tuple(revoked))
    except ValueError as error:
        raise PolicyError(f"Key list {version} cannot be: {error}.") from error


def _read_key(row: SigningKey) -> PublicKey:
    from concepts.signing.ed25519 import PublicKey  # noqa: PLC0415 (cryptography)

    key = PublicKey.from_pem(row.pem)
    if key.key_id != row.key_id:
        raise VerificationError(f"The stored key '{row.name}' does not have its id.")
    return key


def _sign(before: KeyList | None, new: KeyList, signers: Sequence[PrivateKey]) -> Envelope:
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


def _store(unit: Work, new: KeyList, envelope: Envelope) -> None:
    row = KeyListRow(version=new.version, envelope=envelope.to_bytes().decode())
    row.created_at, row.created_by = unit.at, unit.actor
    unit.session.add(row)
    unit.session.flush()


def _info(row: SigningKey, current: KeyList | None) -> KeyInfo:
    state = "unlisted"
    if current is not None and current.find(row.key_id):
        state = "listed"
    elif current is not None and row.key_id in current.revoked:
        state = "revoked"
    return KeyInfo(row.name, row.key_id, state, row.pem, row.created_at, row.created_by)
