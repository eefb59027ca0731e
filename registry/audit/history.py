"""What happened to a concept: its own events, and those of whatever carried its versions."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String, and_, cast, or_, select
from sqlalchemy.orm import Session

from registry.change.event import AuditEvent, read_event
from registry.store.models import (
    AuditEventRow,
    BundleRow,
    Channel,
    ChannelMove,
    Concept,
    Release,
    ReleaseMember,
)
from registry.versions.reading import find_concept


def concept_history(session: Session, slug: str) -> list[AuditEvent]:
    """Return the audit events of a concept, oldest first.

    They are those of its definition and its versions, of the releases that held one of them, and
    of the channels that pointed to such a release.

    Raises:
        NotFoundError: If there is no such concept.
    """
    concept = find_concept(session, slug)
    moves = _moves(session, concept)
    subject, action = AuditEventRow.subject, AuditEventRow.action
    released = (
        select(BundleRow.name + "#" + cast(Release.sequence, String))
        .join(Release, Release.bundle_id == BundleRow.id)
        .join(ReleaseMember, ReleaseMember.release_id == Release.id)
        .where(ReleaseMember.concept_id == concept.id)
    )
    # Names of concepts, bundles and channels may be alike: the action tells which is meant.
    query = select(AuditEventRow).where(
        or_(
            and_(action.like("concept.%"), subject == slug),
            and_(action.like("version.%"), subject.like(f"{slug}@%")),
            and_(action.like("release.%"), subject.in_(released)),
            and_(action == "channel.move", subject.in_(sorted({name for name, _ in moves}))),
        )
    )
    rows = session.scalars(query.order_by(AuditEventRow.number)).all()
    events = [read_event(row) for row in rows]
    return [
        event
        for event in events
        if event.action != "channel.move" or (event.subject, event.details["number"]) in moves
    ]


def _moves(session: Session, concept: Concept) -> set[tuple[str, int]]:
    """Return channel and number of each move to a release that held the concept."""
    query = (
        select(Channel.name, ChannelMove.number)
        .join(ChannelMove, ChannelMove.channel_id == Channel.id)
        .join(ReleaseMember, ReleaseMember.release_id == ChannelMove.release_id)
        .where(ReleaseMember.concept_id == concept.id)
    )
    return {(name, number) for name, number in session.execute(query)}


def log(registry: Any, slug: str) -> list[AuditEvent]:
    """Return ``registry.audit.history(slug)``; removed once the commands use the services."""
    events: list[AuditEvent] = registry.audit.history(slug)
    return events
