"""Tables of channels and where they point."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Instant


class Channel(Base):
    """A named pointer to a release of one bundle."""

    __tablename__ = "channel"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    bundle_id: Mapped[int] = mapped_column(ForeignKey("bundle.id"))
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class ChannelMove(Base):
    """Where a channel pointed from some moment on."""

    __tablename__ = "channel_move"
    __table_args__ = (UniqueConstraint("channel_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    channel_id: Mapped[int] = mapped_column(ForeignKey("channel.id"))
    number: Mapped[int]
    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"))
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(Instant, index=True)
    by: Mapped[str] = mapped_column(Text)
