"""Signatures of releases: each is checked before it is stored, and when it is counted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import ConflictError, PolicyError
from concepts.signing.envelope import BUNDLE_TYPE, Signature, sign
from registry.change.work import Work
from registry.keys.lists import current_keys, key_chain, key_name
from registry.store.models import Release, SignatureRow

if TYPE_CHECKING:  # Both bring cryptography, which only signatures need.
    from concepts.bundle import Bundle
    from concepts.signing.keys import KeyList, PrivateKey


def signatures_of(session: Session, release: Release) -> tuple[Signature, ...]:
    """Return a release's signatures, by key id."""
    query = select(SignatureRow).where(SignatureRow.release_id == release.id)
    rows = session.scalars(query.order_by(SignatureRow.key_id)).all()
    return tuple(Signature(row.key_id, bytes.fromhex(row.value)) for row in rows)


def signed_by(session: Session, release: Release, bundle: Bundle) -> list[str]:
    """Return the ids of the keys whose signatures engines count, whichever list they trust.

    Those are keys listed now and in the newest list that the release carries.

    Raises:
        SignatureError: If a listed key's signature does not fit.
    """
    current, own = current_keys(session), _own_keys(session, release)
    if current is None or own is None:
        return []
    return [key_id for key_id in current.signers(bundle.envelope) if own.find(key_id)]


def add_signatures(
    unit: Work, release: Release, bundle: Bundle, keys: Sequence[PrivateKey]
) -> list[str]:
    """Sign a release's bundle and store the signatures, each checked before; return the key ids.

    Raises:
        PolicyError: If a key is not in the current key list, or not in the release's own.
        ConflictError: If a key signed the release before.
    """
    if not keys:
        return []
    current = _require_listed(unit.session, release, keys)
    by_id = {key.public.key_id: key for key in keys}
    if again := by_id.keys() & {item.key_id for item in signatures_of(unit.session, release)}:
        name = key_name(unit.session, min(again))
        raise ConflictError(f"Key {name} has signed {bundle.name}@{release.sequence} already.")
    envelope = sign(BUNDLE_TYPE, bundle.manifest(), *by_id.values())
    current.signers(envelope)
    for item in envelope.signatures:
        row = SignatureRow(release_id=release.id, key_id=item.key_id, value=item.value.hex())
        row.at, row.by = unit.at, unit.actor
        unit.session.add(row)
    unit.session.flush()
    return sorted(by_id)


def _own_keys(session: Session, release: Release) -> KeyList | None:
    """Return the newest key list that a release leads engines to, None before the first."""
    # One that was made before there were keys leads nowhere, and all engines trust list 1 or later.
    chain = key_chain(session, max(release.key_list, 1))
    if not chain:
        return None
    from concepts.signing.keys import read_key_list  # noqa: PLC0415 (cryptography)

    return read_key_list(chain[-1])  # Checked with the chain of the current list.


def _require_listed(session: Session, release: Release, keys: Sequence[PrivateKey]) -> KeyList:
    current, own = current_keys(session), _own_keys(session, release)
    if current is None or own is None:
        raise PolicyError(
            "There is no key list yet, so nobody could check a signature. Make one: "
            "`uvr-registry key add`, then `uvr-registry key rotate`."
        )
    for key in keys:
        key_id = key.public.key_id
        if current.find(key_id) is None:
            why = "revoked" if key_id in current.revoked else "not in the key list"
            raise PolicyError(
                f"Key {key_name(session, key_id)} is {why}: engines would not accept its "
                f"signature. Sign with a key of list {current.version}, or rotate it in."
            )
        if own.find(key_id) is None:
            raise PolicyError(
                f"Release {release.sequence} was made before key {key_name(session, key_id)} was "
                f"listed: engines that follow it to key list {own.version} would not accept its "
                "signature. Release again, and sign that."
            )
    return current
