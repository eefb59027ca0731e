"""One unit of work: a transaction under the write lock, who acts, and the blobs that are new."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from concepts.errors import InputError
from registry import actors, audit
from registry.db import session
from registry.store import BlobStore


class NewBlobs:
    """Blobs of one unit of work; on an error or in a dry run, the ones that were new are deleted.

    Deleting is safe because the write lock is held: no other writer can have named them. A failing
    commit leaves them to garbage collection for that reason.
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

    def discard(self) -> None:
        """Delete those that were not there before."""
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
    """

    session: Session
    blobs: NewBlobs
    actor: str
    at: str

    def record(self, action: str, subject: str, **details: Any) -> None:
        """Write the audit event of a state change."""
        audit.record(self.session, action, subject, actor=self.actor, at=self.at, **details)


@contextmanager
def work(
    engine: Engine, store: BlobStore, actor: str, role: str, *, dry_run: bool = False
) -> Iterator[Work]:
    """Open a unit of work for an actor who has a role; all of it is kept, or nothing.

    Raises:
        PolicyError: The registry has actors and this one is not active or lacks the role.
    """
    if not actor.strip():
        raise InputError("The actor must be named: who makes the change?")
    blobs = NewBlobs(store)
    with session(engine, write=True, keep=not dry_run) as opened:
        try:
            actors.require(opened, actor, role)
            yield Work(opened, blobs, actor, audit.clock(opened))
            opened.flush()
        except BaseException:
            blobs.discard()
            raise
        if dry_run:
            blobs.discard()
