"""Tables of keys, lists of them, and signatures."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Digest, Instant


class SigningKey(Base):
    """A public key by name; the private half never comes near the registry."""

    __tablename__ = "signing_key"

    id: Mapped[int] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(Digest, unique=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    pem: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class KeyListRow(Base):
    """One signed list of the keys that may sign; each follows the one before."""

    __tablename__ = "key_list"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    envelope: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class SignatureRow(Base):
    """One signature of a release's manifest."""

    __tablename__ = "signature"

    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"), primary_key=True)
    key_id: Mapped[str] = mapped_column(Digest, primary_key=True)
    value: Mapped[str] = mapped_column(String(128))  # hex
    at: Mapped[str] = mapped_column(Instant)
    by: Mapped[str] = mapped_column(Text)
