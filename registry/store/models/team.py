"""Tables of who may do what, and of what the registry asks for."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Double, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from registry.store.models.base import Base, Instant


class Actor(Base):
    """Who may do what; while there is none, everyone may do everything."""

    __tablename__ = "actor"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(128), unique=True)
    roles: Mapped[str] = mapped_column(Text)  # sorted, with a space between
    active: Mapped[bool]
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class PolicyRow(Base):
    """What the registry asks for; exactly one row."""

    __tablename__ = "policy"
    __table_args__ = (
        CheckConstraint("id = 1", name="one"),
        CheckConstraint("approvals >= 0", name="approvals"),
        CheckConstraint("signatures >= 0", name="signatures"),
        CheckConstraint("max_shrink >= 0 AND max_shrink <= 1", name="max_shrink"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    registry_id: Mapped[str] = mapped_column(String(32))
    approvals: Mapped[int]
    self_approval: Mapped[bool]
    signatures: Mapped[int]
    max_shrink: Mapped[float] = mapped_column(Double)
    gate: Mapped[str | None] = mapped_column(Text)  # JSON of ``concepts.gate.Gate``
