"""The table of jobs."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from concepts.words import JOB_STATES
from registry.store.models.base import Base, Instant

OPEN_JOBS = ("waiting", "running")


class JobRow(Base):
    """Work that an actor asked for and a worker does; what it changes is audited, it is not."""

    __tablename__ = "job"
    __table_args__ = (CheckConstraint(f"state IN {JOB_STATES}", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    arguments: Mapped[str] = mapped_column(Text)  # JSON, a list of words
    asked_at: Mapped[str] = mapped_column(Instant)
    asked_by: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16), index=True)
    cancelled_by: Mapped[str | None] = mapped_column(Text)
    attempts: Mapped[int]
    worker: Mapped[str | None] = mapped_column(Text)
    leased_until: Mapped[str | None] = mapped_column(Instant)
    done: Mapped[int]
    total: Mapped[int]
    message: Mapped[str] = mapped_column(Text)
    result: Mapped[str | None] = mapped_column(Text)  # JSON that the command printed
    ended_at: Mapped[str | None] = mapped_column(Instant)
