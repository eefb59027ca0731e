"""Tables of the audit trail."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Digest, Instant


class AuditEventRow(Base):
    """One state change; each event's digest covers the one before."""

    __tablename__ = "audit_event"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str] = mapped_column(Instant)
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(String(64))
    subject: Mapped[str] = mapped_column(Text)
    details: Mapped[str] = mapped_column(Text)
    prev_digest: Mapped[str] = mapped_column(Digest, unique=True)
    digest: Mapped[str] = mapped_column(Digest, unique=True)


class AuditCheckpoint(Base):
    """A signed statement of where the trail stood."""

    __tablename__ = "audit_checkpoint"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_number: Mapped[int] = mapped_column(ForeignKey("audit_event.number"), unique=True)
    event_digest: Mapped[str] = mapped_column(Digest)
    envelope: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)
