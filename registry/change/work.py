"""One unit of work: a transaction under the write lock, who acts, and the blobs that are new."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from concepts.errors import InputError
from registry.change import event
from registry.change.clock import read_times
from registry.change.policy import require_role
from registry.store.blobs import BlobStore
from registry.store.db import open_session


class NewBlobs:
    """Blobs of one unit of work; on an error or in a dry run, the ones that were new are deleted.

    Deleting is safe while the write lock is held: no other writer can have named them. Where it may
    be gone, as after a failing commit or a lost connection, they are left to garbage collection.
    """

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self.new: list[str] = []

    def put(self, data: bytes) -> str:
        """Store a blob and return its digest."""
        digest, new = self.store.put(data)
        if new:
            self.new.append(digest)
        return digest

    def write(self, digest: str, parts: Iterable[bytes]) -> None:
        """Store a blob from its parts."""
        new = digest not in self.store
        self.store.write(digest, parts)
        if new:
            self.new.append(digest)

    def discard(self) -> None:
        """Delete those that were not there before; the caller holds the write lock."""
        for digest in self.new:
            self.store.discard(digest)


@dataclass(frozen=True)
class Work:
    """What a change is made with.

    Attributes:
        session: ORM session of the transaction, which holds the write lock.
        blobs: Where new blobs go.
        actor: Who makes the change.
        at: When; never earlier than the audit trail's last event.
        present: This host's time, which tells what has expired.
    """

    session: Session
    blobs: NewBlobs
    actor: str
    at: str
    present: str

    def record(self, action: str, subject: str, **details: Any) -> None:
        """Write the audit event of a state change."""
        event.record(self.session, action, subject, actor=self.actor, at=self.at, **details)


@contextmanager
def work(
    engine: Engine, store: BlobStore, actor: str, role: str, *, dry_run: bool = False
) -> Iterator[Work]:
    """Open a unit of work for an actor who has a role; all of it is kept, or nothing.

    Raises:
        PolicyError: The registry has actors and this one is not active or lacks the role, or this
            host's clock cannot be believed.
    """
    if not actor.strip():
        raise InputError("The actor must be named: who makes the change?")
    with (
        open_session(engine, write=True, keep=not dry_run) as session,
        kept_blobs(session, store, dry_run=dry_run) as blobs,
    ):
        require_role(session, actor, role)
        times = read_times(session)
        yield Work(session, blobs, actor, times.at, times.present)
        session.flush()


@contextmanager
def kept_blobs(session: Session, store: BlobStore, *, dry_run: bool = False) -> Iterator[NewBlobs]:
    """Give the blobs of a session that holds the write lock; on an error the new ones go."""
    blobs = NewBlobs(store)
    try:
        yield blobs
    except BaseException:
        if _holds_lock(session):
            blobs.discard()
        raise
    if dry_run and _holds_lock(session):
        blobs.discard()


def _holds_lock(session: Session) -> bool:
    """Whether the transaction is still open on the server: the lock ends with the connection."""
    try:
        connection = session.connection()
        connection.exec_driver_sql("SELECT 1")
    except DBAPIError as error:
        return not error.connection_invalidated  # A failed transaction holds it until rolled back.
    except SQLAlchemyError:
        return False
    # SQLite rolls back by itself on a full disk; PostgreSQL does not, and its driver cannot tell.
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", True))
