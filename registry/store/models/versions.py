"""Tables of versions: their content, and what was measured of it."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from concepts.words import STATES
from registry.store.models.base import Base, Digest, Instant

# From which state to which a version may go; the database's triggers know the same pairs.
MOVES = (
    ("draft", "in_review"),
    ("in_review", "draft"),
    ("in_review", "approved"),
    ("in_review", "revoked"),
    ("approved", "deprecated"),
    ("approved", "revoked"),
    ("deprecated", "revoked"),
)


class ConceptVersion(Base):
    """One state of a concept: definition, anchors and scoring; fixed once it is not a draft."""

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
    # Everyone who wrote a part of the content, JSON: an approval by one of them is one's own.
    authors: Mapped[str] = mapped_column(Text, server_default="[]")
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


class EvaluationRow(Base):
    """What was measured of a content, whichever version has it; edited content has none."""

    __tablename__ = "evaluation"
    __table_args__ = (UniqueConstraint("concept_id", "content_digest", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    concept_id: Mapped[int] = mapped_column(ForeignKey("concept.id"))
    content_digest: Mapped[str] = mapped_column(Digest)
    digest: Mapped[str] = mapped_column(Digest)
    document: Mapped[str] = mapped_column(Text)  # JSON of ``concepts.evaluation.Evaluation``
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)
