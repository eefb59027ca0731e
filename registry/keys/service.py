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
from concepts.errors import ConflictError, InputError, NotFoundError, did_you_mean
from concepts.signing.envelope import Envelope
from registry.change.work import Work
from registry.change.workspace import Workspace
from registry.keys.lists import current_keys
from registry.keys.rotation import next_list, sign_rotation
from registry.store.models import KeyListRow, SigningKey

if TYPE_CHECKING:
    from concepts.signing.keys import KeyList, PrivateKey, PublicKey


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
    """The public keys that a registry knows, and the list of those that may sign."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def add(self, name: str, key: PublicKey, *, actor: str) -> KeyInfo:
        """Add a public key by name; it may sign once a rotation lists it.

        Raises:
            ConflictError: If the name or the key is taken.
            InputError: If the name is not valid.
        """
        try:
            check_name(name)
        except ValueError as error:
            raise InputError(f"The key's name is not valid: {error}.") from error
        with self._workspace.work(actor, "admin") as unit:
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
        with self._workspace.read() as session:
            current = current_keys(session)
            keys = [_info(row, current) for row in session.scalars(select(SigningKey))]
        return sorted(keys, key=lambda key: key.name)

    def current(self) -> KeyList | None:
        """Return the key list that engines should trust, None before the first rotation."""
        with self._workspace.read() as session:
            return current_keys(session)

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
            PolicyError: If such a list is not allowed, or it is not signed by enough keys.
        """
        with self._workspace.work(actor, "admin") as unit:
            before = current_keys(unit.session)
            named = {
                verb: [_find(unit.session, name) for name in dict.fromkeys(names)]
                for verb, names in (("add", add), ("remove", remove), ("revoke", revoke))
            }
            new = next_list(before, named, threshold)
            envelope = sign_rotation(before, new, signers)
            _store(unit, new, envelope)
            unit.record(
                "key.rotate", f"keys@{new.version}", digest=new.digest, threshold=new.threshold,
                signed_by=[item.key_id for item in envelope.signatures],
                **{verb: sorted(row.name for row in rows) for verb, rows in named.items()},
            )  # fmt: skip
            return new


def _find(session: Session, name: str) -> SigningKey:
    row = session.scalars(select(SigningKey).filter_by(name=name)).first()
    if row is None:
        known = session.scalars(select(SigningKey.name)).all()
        raise NotFoundError(
            f"No key '{name}'.{did_you_mean(name, known)} Add it first: `uvr-registry key add`."
        )
    return row


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
