"""Tables of bundles and their releases."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from concepts.words import MODES
from registry.store.models.base import Base, Digest, Instant


class BundleRow(Base):
    """A named series of releases."""

    __tablename__ = "bundle"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class Release(Base):
    """A numbered, locked set of versions.

    ``format`` is that of its bundle's manifest; 0 is the one of schema 0001, which is gone.
    """

    __tablename__ = "release"
    __table_args__ = (
        UniqueConstraint("bundle_id", "sequence"),
        CheckConstraint("sequence >= 1", name="sequence"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    bundle_id: Mapped[int] = mapped_column(ForeignKey("bundle.id"))
    sequence: Mapped[int]
    lock_digest: Mapped[str] = mapped_column(Digest)
    bundle_digest: Mapped[str] = mapped_column(Digest)
    format: Mapped[int] = mapped_column(server_default="0")
    previous_digest: Mapped[str | None] = mapped_column(Digest)
    expires_at: Mapped[str | None] = mapped_column(Instant)
    key_list: Mapped[int] = mapped_column(server_default="0")  # newest list that it carries
    rollback_of: Mapped[int | None]
    note: Mapped[str] = mapped_column(Text, server_default="")
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class ReleaseMember(Base):
    """A version that is part of a release; one for each concept."""

    __tablename__ = "release_member"
    __table_args__ = (CheckConstraint(f"mode IN {MODES}", name="mode"),)

    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"), primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concept.id"), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("concept_version.id"), index=True)
    mode: Mapped[str] = mapped_column(String(16))
    thresholds: Mapped[str] = mapped_column(Text)  # JSON: space digest -> seed threshold
    disabled_until: Mapped[str | None] = mapped_column(Instant)


class ReleaseRevocation(Base):
    """A content digest that a release says was revoked when it was made."""

    __tablename__ = "release_revocation"

    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"), primary_key=True)
    content_digest: Mapped[str] = mapped_column(Digest, primary_key=True)
