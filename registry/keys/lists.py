"""The signed key lists that the database holds, each checked when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from concepts.errors import VerificationError
from concepts.signing.envelope import KEYS_TYPE, Envelope, read_envelope
from registry.store.models import KeyListRow, SigningKey

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.keys import KeyList


def newest_list(session: Session) -> int:
    """Return the version of the current key list, 0 before the first."""
    return len(key_chain(session))


def key_chain(session: Session, last: int | None = None) -> tuple[Envelope, ...]:
    """Return the signed key lists up to a version, by default all, oldest first.

    Raises:
        VerificationError: If a row does not hold the list of its number, or one before is missing.
    """
    query = select(KeyListRow).order_by(KeyListRow.version)
    if last is not None:
        query = query.where(KeyListRow.version <= last)
    rows = enumerate(session.scalars(query), 1)
    return tuple(_read(session, row, number) for number, row in rows)


def _read(session: Session, row: KeyListRow, number: int) -> Envelope:
    """Return the envelope of a row, which must hold the list that comes next."""
    from concepts.signing.keys import read_key_list  # noqa: PLC0415 (cryptography)

    try:
        envelope = read_envelope(row.envelope.encode(), KEYS_TYPE)
        held = read_key_list(envelope).version
    except VerificationError as error:
        raise _stray(session, row, f"what it holds cannot be read: {error}") from error
    if held != row.version:
        raise _stray(session, row, f"it holds list {held}.")
    if held != number:
        raise _stray(session, row, f"list {number} comes next.")
    return envelope


def _stray(session: Session, row: KeyListRow, why: str) -> VerificationError:
    # The trigger refuses the delete, whoever asks: the way back must say how to get past it.
    trigger = "uvr_key_list_delete"
    table = "" if session.get_bind().dialect.name == "sqlite" else f" ON {row.__tablename__}"
    return VerificationError(
        f"Row {row.version} of the table '{row.__tablename__}' was written by another program: "
        f"{why} Releases and rotations wait until it is gone. The database's owner takes it out "
        f"with `DROP TRIGGER {trigger}{table}; DELETE FROM {row.__tablename__} WHERE version = "
        f"{row.version};`, and `uvr-registry init` makes the trigger anew."
    )


def current_keys(session: Session) -> KeyList | None:
    """Return the current key list, None before the first.

    Raises:
        VerificationError: If the chain of lists that leads to it is damaged.
    """
    chain = key_chain(session)
    if not chain:
        return None
    from concepts.signing.keys import read_key_list  # noqa: PLC0415 (cryptography)

    first = read_key_list(chain[0])
    first.require(chain[0])
    return first.follow(chain[1:])


def key_name(session: Session, key_id: str) -> str:
    """Return how a message names a key: its name where the registry knows it."""
    name = session.scalar(select(SigningKey.name).where(SigningKey.key_id == key_id))
    return f"'{name}'" if name else key_id[:16]
