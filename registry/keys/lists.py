"""The signed key lists that the database holds, each checked when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from concepts.signing.envelope import KEYS_TYPE, Envelope, read_envelope
from registry.store.models import KeyListRow, SigningKey

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.keys import KeyList


def newest_list(session: Session) -> int:
    """Return the version of the current key list, 0 before the first."""
    return session.scalar(select(func.max(KeyListRow.version))) or 0


def key_chain(session: Session, last: int | None = None) -> tuple[Envelope, ...]:
    """Return the signed key lists up to a version, by default all, oldest first."""
    query = select(KeyListRow.envelope).order_by(KeyListRow.version)
    if last is not None:
        query = query.where(KeyListRow.version <= last)
    return tuple(read_envelope(text.encode(), KEYS_TYPE) for text in session.scalars(query))


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
