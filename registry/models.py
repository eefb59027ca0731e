"""Tables of the registry; rows never leave this package."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    ForeignKey,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    event,
    inspect,
)
from sqlalchemy.engine import Connection
from sqlalchemy.orm import DeclarativeBase, Mapped, Mapper, mapped_column

from concepts.errors import PolicyError

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

STATES = ("draft", "in_review", "approved", "deprecated", "revoked")

Digest = String(64)
# UTC, ISO 8601 with microseconds and "Z": the same text on every database, and it sorts by time.
Instant = String(27)


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMES)


class Concept(Base):
    """What is banned: the header, and the definition that its next version takes."""

    __tablename__ = "concept"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(Text)
    category: Mapped[str] = mapped_column(String(32))
    definition: Mapped[str] = mapped_column(Text)
    definition_digest: Mapped[str] = mapped_column(Digest)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


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


class ConceptVersion(Base):
    """One immutable state of a concept: definition, anchors and scoring."""

    __tablename__ = "concept_version"
    __table_args__ = (
        UniqueConstraint("concept_id", "number"),
        UniqueConstraint("concept_id", "content_digest"),
        CheckConstraint("number >= 1", name="number"),
        CheckConstraint(f"state IN {STATES}", name="state"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concept.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(String(16))
    definition: Mapped[str] = mapped_column(Text)
    content_digest: Mapped[str] = mapped_column(Digest)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class VersionAnchors(Base):
    """The anchors of a version in one space, and what scores a patch there."""

    __tablename__ = "version_anchors"

    version_id: Mapped[int] = mapped_column(ForeignKey("concept_version.id"), primary_key=True)
    space_id: Mapped[int] = mapped_column(ForeignKey("anchor_space.id"), primary_key=True)
    anchor_set_id: Mapped[int] = mapped_column(ForeignKey("anchor_set.id"), index=True)
    scorer: Mapped[str] = mapped_column(Text)
    scorer_blob: Mapped[str] = mapped_column(Digest)
    scorer_digest: Mapped[str] = mapped_column(Digest)


class BundleRow(Base):
    """A named series of releases."""

    __tablename__ = "bundle"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class Release(Base):
    """A numbered, locked set of versions."""

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
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


class ReleaseMember(Base):
    """A version that is part of a release; one for each concept."""

    __tablename__ = "release_member"

    release_id: Mapped[int] = mapped_column(ForeignKey("release.id"), primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concept.id"), primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("concept_version.id"), index=True)
    mode: Mapped[str] = mapped_column(String(16))


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


# Rows that never change; database triggers guard the same tables against other programs.
APPEND_ONLY = (
    AnchorSpaceRow, AnchorSetRow, VersionAnchors, Release, ReleaseMember, AuditEventRow,
)  # fmt: skip
VERSION_CONTENT = (
    "concept_id", "number", "definition", "content_digest", "created_at", "created_by",
)  # fmt: skip


def _refuse_update(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    names = VERSION_CONTENT if isinstance(row, ConceptVersion) else inspect(row).attrs.keys()
    if any(inspect(row).attrs[name].history.has_changes() for name in names):
        _refuse_delete(_mapper, _connection, row)


def _refuse_delete(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    raise PolicyError(f"A row of '{row.__tablename__}' never changes; make a new one.")


for _table in (*APPEND_ONLY, ConceptVersion):
    event.listen(_table, "before_update", _refuse_update)
    event.listen(_table, "before_delete", _refuse_delete)
