"""Tables of the registry; rows never leave this package."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Double,
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
from concepts.words import JOB_STATES, MODES, REQUEST_STATES, STATES

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

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

Digest = String(64)
# UTC, ISO 8601 with microseconds and "Z": the same text on every database, and it sorts by time.
Instant = String(27)


class Base(DeclarativeBase):
    """All tables."""

    metadata = MetaData(naming_convention=NAMES)


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


class ChangeRequest(Base):
    """A version put up for review, for the content that it had then."""

    __tablename__ = "change_request"
    __table_args__ = (CheckConstraint(f"state IN {REQUEST_STATES}", name="state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("concept_version.id"), index=True)
    content_digest: Mapped[str] = mapped_column(Digest)
    state: Mapped[str] = mapped_column(String(16))
    note: Mapped[str] = mapped_column(Text)
    opened_at: Mapped[str] = mapped_column(Instant)
    opened_by: Mapped[str] = mapped_column(Text)
    closed_at: Mapped[str | None] = mapped_column(Instant)
    closed_by: Mapped[str | None] = mapped_column(Text)


class Review(Base):
    """One reviewer's decision, for the digest that was seen."""

    __tablename__ = "review"
    __table_args__ = (
        UniqueConstraint("change_request_id", "reviewer", "break_glass"),
        CheckConstraint("decision IN ('approve', 'reject')", name="decision"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    change_request_id: Mapped[int] = mapped_column(ForeignKey("change_request.id"))
    content_digest: Mapped[str] = mapped_column(Digest)
    reviewer: Mapped[str] = mapped_column(String(128))
    decision: Mapped[str] = mapped_column(String(16))
    break_glass: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text)
    at: Mapped[str] = mapped_column(Instant)
    evaluation: Mapped[str | None] = mapped_column(Digest)  # the newest that was shown, if any


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


class AuditCheckpoint(Base):
    """A signed statement of where the trail stood."""

    __tablename__ = "audit_checkpoint"

    id: Mapped[int] = mapped_column(primary_key=True)
    event_number: Mapped[int] = mapped_column(ForeignKey("audit_event.number"), unique=True)
    event_digest: Mapped[str] = mapped_column(Digest)
    envelope: Mapped[str] = mapped_column(Text)
    created_at: Mapped[str] = mapped_column(Instant)
    created_by: Mapped[str] = mapped_column(Text)


# Rows that never change; database triggers guard the same tables against other programs.
APPEND_ONLY = (
    AnchorSpaceRow, AnchorSetRow, EvaluationRow, Review, BundleRow, Release, ReleaseMember,
    ReleaseRevocation, Channel, ChannelMove, SigningKey, KeyListRow, SignatureRow, AuditEventRow,
    AuditCheckpoint,
)  # fmt: skip
VERSION_IDENTITY = ("concept_id", "number", "created_at", "created_by")
JOB_IDENTITY = ("kind", "arguments", "asked_at", "asked_by")
OPEN_JOBS = ("waiting", "running")
VERSION_CONTENT = ("definition", "content_digest", "authors")


def _refuse_update(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    if _changed(row, inspect(row).attrs.keys()):
        _refuse_delete(_mapper, _connection, row)


def _guard_version(_mapper: Mapper[Base], _connection: Connection, row: ConceptVersion) -> None:
    if _changed(row, VERSION_IDENTITY):
        raise PolicyError("The concept, number and origin of a version never change.")
    if _changed(row, VERSION_CONTENT) and row.state != "draft":
        raise PolicyError(
            f"Version {row.number} is {row.state}: its content is fixed. Make a new "
            "version: `uvr-registry copy-version`."
        )
    move = inspect(row).attrs.state.history
    before, after = [*move.deleted, *move.added] if move.has_changes() else ("", "")
    if before != after and (before, after) not in MOVES:
        raise PolicyError(f"A version never goes from {before} to {after}.")


def _guard_job(_mapper: Mapper[Base], _connection: Connection, row: JobRow) -> None:
    if _changed(row, JOB_IDENTITY):
        raise PolicyError("What a job is to do, and for whom, never changes; ask for another.")
    history = inspect(row).attrs.state.history
    before = [*history.deleted, *history.unchanged][0]
    if before not in OPEN_JOBS:
        raise PolicyError(f"Job {row.id} is {before}: it never changes again.")


def _changed(row: Base, names: object) -> bool:
    attributes = inspect(row).attrs
    return any(attributes[name].history.has_changes() for name in names)  # type: ignore[attr-defined]


def _refuse_delete(_mapper: Mapper[Base], _connection: Connection, row: Base) -> None:
    raise PolicyError(f"A row of '{row.__tablename__}' never changes; make a new one.")


for _table in APPEND_ONLY:
    event.listen(_table, "before_update", _refuse_update)
    event.listen(_table, "before_delete", _refuse_delete)
event.listen(ConceptVersion, "before_update", _guard_version)
event.listen(ConceptVersion, "before_delete", _refuse_delete)
event.listen(JobRow, "before_update", _guard_job)
event.listen(JobRow, "before_delete", _refuse_delete)
event.listen(VersionAnchors, "before_update", _refuse_update)
