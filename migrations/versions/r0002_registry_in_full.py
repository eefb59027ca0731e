"""The registry in full: actors, policy, review, channels, keys, signatures, checkpoints.

Versions that were released before there was a review count as approved, so that what is live stays
fixed; one audit event says so. Revision: 0002, revises 0001.
"""

import uuid
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from concepts.canonical import canonical_json
from concepts.digest import json_digest
from migrations.versions import r0001_first
from registry.store import guards

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOVES = (
    ("draft", "in_review"), ("in_review", "draft"), ("in_review", "approved"),
    ("in_review", "revoked"), ("approved", "deprecated"), ("approved", "revoked"),
    ("deprecated", "revoked"),
)  # fmt: skip
_MOVED = guards.changed("state")
_ALLOWED = " OR ".join(f"(OLD.state = '{a}' AND NEW.state = '{b}')" for a, b in _MOVES)
_EDITED = guards.changed("definition", "content_digest", "authors")


def _not_draft(row: str) -> str:
    version = f"SCHEMA.concept_version WHERE id = {row}.version_id"
    return f"(SELECT state FROM {version} FOR SHARE) <> 'draft'"


GUARDS = (
    guards.append_only("anchor_space", "id", "digest"),
    guards.append_only("anchor_set", "id", "blob"),
    guards.append_only("review", "id", "change_request_id, reviewer, break_glass"),
    guards.append_only("bundle", "id", "name"),
    guards.append_only("release", "id", "bundle_id, sequence"),
    guards.append_only("release_member", "release_id, concept_id"),
    guards.append_only("release_revocation", "release_id, content_digest"),
    guards.append_only("channel", "id", "name"),
    guards.append_only("channel_move", "id", "channel_id, number"),
    guards.append_only("signing_key", "id", "key_id", "name"),
    guards.append_only("key_list", "version"),
    guards.append_only("signature", "release_id, key_id"),
    guards.append_only(
        "audit_event", "number", "digest", "prev_digest", insert="NEW.number < 1"
    ),
    guards.append_only("audit_checkpoint", "id", "event_number"),
    guards.Guard(  # A version begins as a draft; its content is fixed once it is not one.
        "concept_version",
        ("id", "concept_id, number", "concept_id, content_digest"),
        update=(
            f"({guards.changed('id', 'concept_id', 'number', 'created_at', 'created_by')}) "
            f"OR (({_EDITED}) AND (OLD.state <> 'draft' OR NEW.state <> 'draft')) "
            f"OR (({_MOVED}) AND NOT ({_ALLOWED}))"
        ),
        insert="NEW.state <> 'draft'",
    ),
    guards.Guard(
        "version_anchors",
        ("version_id, space_id",),
        delete=_not_draft("OLD"),
        insert=_not_draft("NEW"),
    ),
    guards.Guard(  # A closed request stays as it was.
        "change_request",
        ("id",),
        update=(
            f"OLD.state <> 'open' OR {guards.changed('version_id', 'content_digest')} "
            f"OR {guards.changed('id', 'note', 'opened_at', 'opened_by')}"
        ),
    ),
    guards.Guard(  # A reference may be forgotten, but not rewritten.
        "source_ref", ("id", "anchor_set_id, sha256"), delete="1 = 0"
    ),
)  # fmt: skip


def upgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    _create_tables()
    _add_columns()
    _fill(connection)
    guards.create(connection, GUARDS)


def downgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    for table in (
        "audit_checkpoint", "signature", "key_list", "signing_key", "channel_move", "channel",
        "release_revocation", "review", "change_request", "source_ref", "policy", "actor",
    ):  # fmt: skip
        op.drop_table(table)
    connection.exec_driver_sql("UPDATE release_member SET mode = 'enforce'")
    with op.batch_alter_table("release_member") as table:
        table.drop_constraint(op.f("ck_release_member_mode"), type_="check")
        table.drop_column("thresholds")
        table.drop_column("disabled_until")
    for column in (
        "format", "previous_digest", "expires_at", "key_list", "rollback_of", "note",
    ):  # fmt: skip
        op.drop_column("release", column)
    op.drop_column("concept_version", "authors")
    op.drop_column("concept", "defined_by")
    guards.create(connection, r0001_first.GUARDS)


def _create_tables() -> None:
    op.create_table(
        "actor",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        *_created(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_actor")),
        sa.UniqueConstraint("name", name=op.f("uq_actor_name")),
    )
    op.create_table(
        "policy",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("registry_id", sa.String(length=32), nullable=False),
        sa.Column("approvals", sa.Integer(), nullable=False),
        sa.Column("self_approval", sa.Boolean(), nullable=False),
        sa.Column("signatures", sa.Integer(), nullable=False),
        sa.Column("max_shrink", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_policy_one")),
        sa.CheckConstraint("approvals >= 0", name=op.f("ck_policy_approvals")),
        sa.CheckConstraint("signatures >= 0", name=op.f("ck_policy_signatures")),
        sa.CheckConstraint(
            "max_shrink >= 0 AND max_shrink <= 1", name=op.f("ck_policy_max_shrink")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policy")),
    )
    op.create_table(
        "source_ref",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("anchor_set_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.Column("retain_until", sa.String(length=27), nullable=True),
        *_created(),
        _foreign("source_ref", "anchor_set_id", "anchor_set"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source_ref")),
        sa.UniqueConstraint(
            "anchor_set_id", "sha256", name=op.f("uq_source_ref_anchor_set_id_sha256")
        ),
    )
    op.create_index(op.f("ix_source_ref_sha256"), "source_ref", ["sha256"])
    op.create_index(op.f("ix_source_ref_retain_until"), "source_ref", ["retain_until"])
    _create_review_tables()
    _create_channel_tables()
    _create_key_tables()


def _create_review_tables() -> None:
    op.create_table(
        "change_request",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("opened_by", sa.Text(), nullable=False),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "state IN ('open', 'approved', 'rejected', 'withdrawn')",
            name=op.f("ck_change_request_state"),
        ),
        _foreign("change_request", "version_id", "concept_version"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_change_request")),
    )
    op.create_index(op.f("ix_change_request_version_id"), "change_request", ["version_id"])
    op.create_table(
        "review",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("change_request_id", sa.Integer(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("reviewer", sa.String(length=128), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("break_glass", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("decision IN ('approve', 'reject')", name=op.f("ck_review_decision")),
        _foreign("review", "change_request_id", "change_request"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review")),
        sa.UniqueConstraint(
            "change_request_id", "reviewer", "break_glass",
            name=op.f("uq_review_change_request_id_reviewer_break_glass"),
        ),
    )  # fmt: skip


def _create_channel_tables() -> None:
    op.create_table(
        "release_revocation",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        _foreign("release_revocation", "release_id", "release"),
        sa.PrimaryKeyConstraint("release_id", "content_digest", name=op.f("pk_release_revocation")),
    )
    op.create_table(
        "channel",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        *_created(),
        _foreign("channel", "bundle_id", "bundle"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel")),
        sa.UniqueConstraint("name", name=op.f("uq_channel_name")),
    )
    op.create_table(
        "channel_move",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("channel_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        _foreign("channel_move", "channel_id", "channel"),
        _foreign("channel_move", "release_id", "release"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_channel_move")),
        sa.UniqueConstraint("channel_id", "number", name=op.f("uq_channel_move_channel_id_number")),
    )
    op.create_index(op.f("ix_channel_move_at"), "channel_move", ["at"])


def _create_key_tables() -> None:
    op.create_table(
        "signing_key",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("pem", sa.Text(), nullable=False),
        *_created(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_key")),
        sa.UniqueConstraint("key_id", name=op.f("uq_signing_key_key_id")),
        sa.UniqueConstraint("name", name=op.f("uq_signing_key_name")),
    )
    op.create_table(
        "key_list",
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        *_created(),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_key_list")),
    )
    op.create_table(
        "signature",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("value", sa.String(length=128), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("by", sa.Text(), nullable=False),
        _foreign("signature", "release_id", "release"),
        sa.PrimaryKeyConstraint("release_id", "key_id", name=op.f("pk_signature")),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_number", sa.Integer(), nullable=False),
        sa.Column("event_digest", sa.String(length=64), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        *_created(),
        sa.ForeignKeyConstraint(
            ["event_number"],
            ["audit_event.number"],
            name=op.f("fk_audit_checkpoint_event_number_audit_event"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_checkpoint")),
        sa.UniqueConstraint("event_number", name=op.f("uq_audit_checkpoint_event_number")),
    )


def _created() -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
    )


def _foreign(table: str, column: str, other: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{other}")
    return sa.ForeignKeyConstraint([column], [f"{other}.id"], name=name)


def _add_columns() -> None:
    # Adding a column keeps the table: batch mode would drop it under its foreign keys.
    def text(name: str, default: str) -> sa.Column[str]:
        return sa.Column(name, sa.Text(), nullable=False, server_default=default)

    def number(name: str) -> sa.Column[int]:
        return sa.Column(name, sa.Integer(), nullable=False, server_default="0")

    op.add_column("concept", text("defined_by", "[]"))
    op.add_column("concept_version", text("authors", "[]"))
    op.add_column("release", number("format"))
    op.add_column("release", sa.Column("previous_digest", sa.String(length=64), nullable=True))
    op.add_column("release", sa.Column("expires_at", sa.String(length=27), nullable=True))
    op.add_column("release", number("key_list"))
    op.add_column("release", sa.Column("rollback_of", sa.Integer(), nullable=True))
    op.add_column("release", text("note", ""))
    with op.batch_alter_table("release_member") as table:  # a table that no other one refers to
        table.add_column(text("thresholds", "{}"))
        table.add_column(sa.Column("disabled_until", sa.String(length=27), nullable=True))
        table.create_check_constraint(
            op.f("ck_release_member_mode"), "mode IN ('enforce', 'log', 'shadow')"
        )


def _fill(connection: sa.Connection) -> None:
    run = connection.exec_driver_sql
    for name, column in (("concept", "defined_by"), ("concept_version", "authors")):
        table = sa.table(name, sa.column("id"), sa.column(column))
        for number, author in run(f"SELECT id, created_by FROM {name}").all():
            values = {column: canonical_json([author]).decode()}
            connection.execute(table.update().where(table.c.id == number).values(values))
    policy = sa.table("policy", *map(sa.column, (
        "id", "registry_id", "approvals", "self_approval", "signatures", "max_shrink",
    )))  # fmt: skip
    connection.execute(policy.insert().values(
        id=1, registry_id=uuid.uuid4().hex, approvals=0, self_approval=True, signatures=0,
        max_shrink=0.0,
    ))  # fmt: skip
    released = "id IN (SELECT version_id FROM release_member) AND state = 'draft'"
    count = run(f"SELECT count(*) FROM concept_version WHERE {released}").scalar_one()
    if count:
        run(f"UPDATE concept_version SET state = 'approved' WHERE {released}")
        _record(connection, "schema.migrate", "0002", {"approved_since_released": count})


def _record(
    connection: sa.Connection, action: str, subject: str, details: dict[str, object]
) -> None:
    last = connection.exec_driver_sql(
        "SELECT number, digest FROM audit_event ORDER BY number DESC LIMIT 1"
    ).first()
    event = {
        "number": last[0] + 1 if last else 1,
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "actor": "uvr-registry",
        "action": action,
        "subject": subject,
        "details": canonical_json(details).decode(),
        "prev_digest": last[1] if last else "0" * 64,
    }
    table = sa.table("audit_event", *map(sa.column, (*event, "digest")))
    connection.execute(table.insert().values(**event, digest=json_digest(event)))
