"""Tables of versions put up for review."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from concepts.words import REQUEST_STATES
from registry.store.models.base import Base, Digest, Instant


class ChangeRequest(Base):
    """A version put up for review, for the content that it had then."""

    __tablename__ = "change_request"
    __table_args__ = (CheckConstraint(f"state IN {REQUEST_STATES}", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("concept_version.id"), index=True)
    content_digest: Mapped[str] = mapped_column(Digest)
    state: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[str] = mapped_column(Instant)
    opened_by: Mapped[str] = mapped_column(Text)
    closed_at: Mapped[str | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(Text)


class Review(Base):
    """One reviewer's decision, for the digest that was seen."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("change_request_id", "reviewer", "break_glass"),
        CheckConstraint("decision IN ('approve', 'reject')", name="decision"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    change_request_id: Mapped[int] = mapped_column(ForeignKey("change_request.id"))
    content_digest: Mapped[str] = mapped_column(Digest)
    reviewer: Mapped[str] = mapped_column(String(128))
    decision: Mapped[str] = mapped_column(String(16))
    break_glass: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(Instant)
    evaluation: Mapped[str | None] = mapped_column(Digest)  # the newest that was shown, if any
