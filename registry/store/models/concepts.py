"""The table of concepts."""

from __future__ import annotations

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Digest, Instant


class Concept(Base):
    """What is banned: the header, and the definition that its next version takes."""

    __tablename__ = "concept"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(String(32))
    definition: Mapped[str] = mapped_column(Text)
    definition_digest: Mapped[str] = mapped_column(Digest)
    defined_by: Mapped[str] = mapped_column(Text, server_default="[]")  # JSON, sorted
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)
