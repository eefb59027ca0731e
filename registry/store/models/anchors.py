"""Tables of anchors: their spaces, their sets, and where these come from."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Digest, Instant


class AnchorSpaceRow(Base):
    """Where anchors come from; spaces never mix."""

    __tablename__ = "anchor_space"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(Digest, unique=True)
    document: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(Text)
    task: Mapped[str] = mapped_column(String(16))
    dim: Mapped[int]


class AnchorSetRow(Base):
    """One collection of anchors; the vectors are the blob."""

    __tablename__ = "anchor_set"

    id: Mapped[int] = mapped_column(primary_key=True)
    space_id: Mapped[int] = mapped_column(ForeignKey("anchor_space.id"), index=True)
    digest: Mapped[str] = mapped_column(Digest, index=True)
    blob: Mapped[str] = mapped_column(Digest, unique=True)
    anchors: Mapped[int]
    counter_anchors: Mapped[int]
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class SourceRefRow(Base):
    """Which exemplar an anchor set came from, never the picture; may be forgotten."""

    __tablename__ = "source_ref"
    __table_args__ = (UniqueConstraint("anchor_set_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    anchor_set_id: Mapped[int] = mapped_column(ForeignKey("anchor_set.id"))
    sha256: Mapped[str] = mapped_column(Digest, index=True)
    origin: Mapped[str] = mapped_column(Text)
    legal_basis: Mapped[str] = mapped_column(Text)
    retain_until: Mapped[str | None] = mapped_column(Instant, index=True)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)
