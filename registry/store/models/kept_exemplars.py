"""Pictures that were kept on purpose."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Digest, Instant


class KeptExemplarRow(Base):
    """A picture that was kept on purpose; its pixels and mask are files, not in any backup."""

    __tablename__ = "kept_exemplar"
    # A number that the audit trail names never becomes another picture's.
    __table_args__ = (UniqueConstraint("concept_id", "sha256"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concept.id"))
    sha256: Mapped[str] = mapped_column(Digest, index=True)  # of the file as it was given
    picture: Mapped[str] = mapped_column(Digest)  # of the file that is kept
    mask: Mapped[str | None] = mapped_column(Digest)
    bytes: Mapped[int]
    benign: Mapped[bool]
    origin: Mapped[str] = mapped_column(Text)
    legal_basis: Mapped[str] = mapped_column(Text)
    retain_until: Mapped[str] = mapped_column(Instant, index=True)
    excluded: Mapped[str | None] = mapped_column(Text)  # why it is not collected from
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)
