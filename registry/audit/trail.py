"""The audit trail: read, verified, exported, and pinned by signed checkpoints.

The chain of digests shows any change that was not followed through to the newest event. Whoever
rewrites all of it, or cuts its end off, is found by a checkpoint: a signed statement of the digest
that one event had, which is kept in the registry and, better, elsewhere too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session

from concepts.canonical import canonical_json
from concepts.errors import NotFoundError, PolicyError, VerificationError
from concepts.signing.envelope import CHECKPOINT_TYPE, sign
from registry.audit.chain import Head, check_chain, event_digest, read_events
from registry.audit.checkpoint import Checkpoint, read_checkpoint, stored_checkpoints
from registry.audit.history import concept_history
from registry.change.event import AuditEvent, read_event
from registry.change.policy import policy_row
from registry.change.workspace import Workspace
from registry.keys.lists import current_keys
from registry.store.models import AuditCheckpoint, AuditEventRow

if TYPE_CHECKING:  # It brings cryptography, which only signatures need.
    from concepts.signing.keys import KeyList, PrivateKey


@dataclass(frozen=True)
class TrailReport:
    """What a verified trail is.

    Attributes:
        events: How many events it has.
        digest: Digest of the newest, 64 zeros without any.
        checkpoints: How many checkpoints of the registry it was compared with.
        against: The event of the checkpoint that was given, None without one.
        signed_by: Ids of the trusted keys that signed that checkpoint.
    """

    events: int
    digest: str
    checkpoints: int
    against: int | None = None
    signed_by: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


class Trail:
    """The audit trail of a registry."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def events(
        self,
        limit: int | None = None,
        subject: str | None = None,
        since: str | None = None,
        *,
        actor: str | None = None,
        action: str | None = None,
        before: int | None = None,
    ) -> list[AuditEvent]:
        """Return events, oldest first, without a check of the chain; see ``verify``.

        Args:
            limit: At most so many, the newest.
            subject: Only those of this concept, bundle, channel, key or actor; "pistol" stands for
                its versions and "default" for its releases, too. "default@3" stands for its moves
                into channels, too.
            since: Only those at this instant or later.
            actor: Only those by this actor.
            action: Only those of this action, or of this kind, such as "release".
            before: Only those with a lower number.
        """
        query = select(AuditEventRow).order_by(AuditEventRow.number.desc())
        if subject is not None:
            column = AuditEventRow.subject
            parts = (column.startswith(f"{subject}{mark}", autoescape=True) for mark in "@#")
            # Events write a release with another mark than people do.
            release = subject.replace("@", "#")
            query = query.where(or_(column.in_((subject, release)), *parts, _went_live(subject)))
        if since is not None:
            query = query.where(AuditEventRow.at >= since)
        if actor is not None:
            query = query.where(AuditEventRow.actor == actor)
        if action is not None:
            kind = AuditEventRow.action.startswith(f"{action}.", autoescape=True)
            query = query.where(or_(AuditEventRow.action == action, kind))
        if before is not None:
            query = query.where(AuditEventRow.number < before)
        if limit is not None:
            query = query.limit(limit)
        with self._workspace.read() as session:
            events = [read_event(row) for row in session.scalars(query)]
        return events[::-1]

    def history(self, slug: str) -> list[AuditEvent]:
        """Return what happened to a concept, oldest first.

        That is what was done to its definition and its versions, the releases that held one of
        them, and the channels that pointed to such a release.

        Raises:
            NotFoundError: If there is no such concept.
        """
        with self._workspace.read() as session:
            return concept_history(session, slug)

    def export(self) -> Iterator[str]:
        """Yield every event as a line of canonical JSON, oldest first, of one snapshot."""
        with self._workspace.read() as session:
            for event in read_events(session):
                yield canonical_json(event.to_dict()).decode()

    def verify(
        self, against: bytes | Path | None = None, keys: KeyList | None = None
    ) -> TrailReport:
        """Check the chain, and that it holds what its checkpoints say.

        Args:
            against: A checkpoint that was kept elsewhere.
            keys: The keys that are trusted; without them the signature of ``against`` is not
                checked, so take it from a place that you trust.

        Raises:
            NotFoundError: If there is no such checkpoint file.
            VerificationError: Names the first event that was edited, removed, inserted, reordered,
                truncated or rewritten, or says what is wrong with a checkpoint.
        """
        kept: Checkpoint | None = None
        signed: tuple[str, ...] = ()
        if against is not None:
            kept = read_checkpoint(_read(against))
            signed = kept.require(keys) if keys is not None else ()
        with self._workspace.read() as session:
            head = check_chain(session)
            if kept is not None:
                _compare(session, kept, head)
            count = check_checkpoints(session, head)
        return TrailReport(head.number, head.digest, count, kept.event if kept else None, signed)

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that the registry keeps, by event.

        Raises:
            VerificationError: If one is damaged.
        """
        with self._workspace.read() as session:
            return stored_checkpoints(session)

    def checkpoint(self, *, actor: str, key: PrivateKey) -> bytes:
        """Sign what the newest event is, and return the envelope to keep elsewhere.

        The checkpoint covers every event before it. An event of its own records it, so that
        a checkpoint that was made and is gone is noticed.

        Args:
            actor: An auditor.
            key: Signs it; whoever verifies must trust it.

        Raises:
            PolicyError: If there are no events yet, or the key was revoked.
            VerificationError: If the chain is broken: nobody should sign that.
        """
        with self._workspace.work(actor, "auditor") as unit:
            listed = current_keys(unit.session)
            if listed is not None and key.public.key_id in listed.revoked:
                raise PolicyError("This key was revoked, so nobody would believe the checkpoint.")
            head = check_chain(unit.session)
            if head.number == 0:
                raise PolicyError("There is no event yet that a checkpoint could cover.")
            checkpoint = Checkpoint(
                policy_row(unit.session).registry_id, head.number, head.digest, unit.at
            )
            envelope = sign(CHECKPOINT_TYPE, checkpoint.payload(), key).to_bytes()
            row = AuditCheckpoint(
                event_number=head.number, event_digest=head.digest, envelope=envelope.decode()
            )
            row.created_at, row.created_by = unit.at, actor
            unit.session.add(row)
            unit.record(
                "audit.checkpoint", f"event {head.number}", digest=head.digest,
                key_id=key.public.key_id,
            )  # fmt: skip
            return envelope


def check_checkpoints(session: Session, head: Head) -> int:
    """Compare the trail with the registry's own checkpoints; return how many there are.

    Raises:
        VerificationError: If one does not fit, is damaged, or is gone.
    """
    checkpoints = stored_checkpoints(session)
    for checkpoint in checkpoints:
        _compare(session, checkpoint, head)
    query = select(AuditEventRow.subject).where(AuditEventRow.action == "audit.checkpoint")
    recorded = set(session.scalars(query))
    if missing := recorded - {f"event {checkpoint.event}" for checkpoint in checkpoints}:
        raise VerificationError(
            f"The checkpoint of {min(missing)} was made, but is no longer in the registry."
        )
    return len(checkpoints)


def _compare(session: Session, checkpoint: Checkpoint, head: Head) -> None:
    registry = policy_row(session).registry_id
    if checkpoint.registry != registry:
        raise VerificationError(
            f"The checkpoint is of registry {checkpoint.registry}, this is registry {registry}."
        )
    if checkpoint.event > head.number:
        raise VerificationError(
            f"The audit trail was truncated: it ends with event {head.number}, and a checkpoint of "
            f"{checkpoint.at} covers event {checkpoint.event}."
        )
    if event_digest(session, checkpoint.event) != checkpoint.digest:
        raise VerificationError(
            f"The audit trail was rewritten: event {checkpoint.event} or one before it is not the "
            f"one that a checkpoint of {checkpoint.at} covers."
        )


def _read(source: bytes | Path) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        return source.read_bytes()
    except FileNotFoundError as error:
        raise NotFoundError(f"No checkpoint file at '{source}'.") from error
    except OSError as error:
        raise VerificationError(f"'{source}' cannot be read: {error.strerror}.") from error


def _went_live(subject: str) -> ColumnElement[bool]:
    """Whether an event moved a channel to a release, "default@3".

    Details are canonical JSON: the number of the release is the last of them.
    """
    bundle, mark, sequence = subject.rpartition("@")
    if not (mark and sequence.isdecimal()):
        return false()
    name = canonical_json(bundle).decode()
    details = AuditEventRow.details
    return and_(
        AuditEventRow.action == "channel.move",
        details.contains(f'"bundle":{name},', autoescape=True),
        details.endswith(f'"sequence":{sequence}}}', autoescape=True),
    )
