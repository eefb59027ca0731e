"""First schema: concepts, anchor spaces and sets, versions, bundles, releases, audit.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

from registry.store import guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

GUARDS = (
    guards.append_only("anchor_space", "id", "digest"),
    guards.append_only("anchor_set", "id", "blob"),
    guards.append_only("version_anchors", "version_id, space_id"),
    guards.append_only("release", "id", "bundle_id, sequence"),
    guards.append_only("release_member", "release_id, concept_id"),
    guards.append_only("audit_event", "number", "digest", "prev_digest"),
    guards.Guard(  # Only the state of a version may change.
        "concept_version",
        ("id", "concept_id, number", "concept_id, content_digest"),
        update=guards.changed(
            "id", "concept_id", "number", "definition", "content_digest", "created_at",
            "created_by",
        ),
    ),
)  # fmt: skip


def upgrade() -> None:
    op.create_table(
        "anchor_space",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("task", sa.String(length=16), nullable=False),
        sa.Column("dim", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anchor_space")),
        sa.UniqueConstraint("digest", name=op.f("uq_anchor_space_digest")),
    )
    op.create_table(
        "audit_event",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("details", sa.Text(), nullable=False),
        sa.Column("prev_digest", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_event")),
        sa.UniqueConstraint("digest", name=op.f("uq_audit_event_digest")),
        sa.UniqueConstraint("prev_digest", name=op.f("uq_audit_event_prev_digest")),
    )
    op.create_table(
        "bundle",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundle")),
        sa.UniqueConstraint("name", name=op.f("uq_bundle_name")),
    )
    op.create_table(
        "concept",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("category", sa.String(length=32), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("definition_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_concept")),
        sa.UniqueConstraint("slug", name=op.f("uq_concept_slug")),
    )
    op.create_table(
        "anchor_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("space_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("blob", sa.String(length=64), nullable=False),
        sa.Column("anchors", sa.Integer(), nullable=False),
        sa.Column("counter_anchors", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["space_id"], ["anchor_space.id"], name=op.f("fk_anchor_set_space_id_anchor_space")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_anchor_set")),
        sa.UniqueConstraint("blob", name=op.f("uq_anchor_set_blob")),
    )
    op.create_index(op.f("ix_anchor_set_digest"), "anchor_set", ["digest"], unique=False)
    op.create_index(op.f("ix_anchor_set_space_id"), "anchor_set", ["space_id"], unique=False)
    op.create_table(
        "concept_version",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("concept_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("definition", sa.Text(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('draft', 'in_review', 'approved', 'deprecated', 'revoked')",
            name=op.f("ck_concept_version_state"),
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_concept_version_number")),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concept.id"], name=op.f("fk_concept_version_concept_id_concept")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_concept_version")),
        sa.UniqueConstraint(
            "concept_id",
            "content_digest",
            name=op.f("uq_concept_version_concept_id_content_digest"),
        ),
        sa.UniqueConstraint(
            "concept_id", "number", name=op.f("uq_concept_version_concept_id_number")
        ),
    )
    op.create_table(
        "release",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("bundle_id", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("lock_digest", sa.String(length=64), nullable=False),
        sa.Column("bundle_digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.CheckConstraint("sequence >= 1", name=op.f("ck_release_sequence")),
        sa.ForeignKeyConstraint(
            ["bundle_id"], ["bundle.id"], name=op.f("fk_release_bundle_id_bundle")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release")),
        sa.UniqueConstraint("bundle_id", "sequence", name=op.f("uq_release_bundle_id_sequence")),
    )
    op.create_table(
        "release_member",
        sa.Column("release_id", sa.Integer(), nullable=False),
        sa.Column("concept_id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concept.id"], name=op.f("fk_release_member_concept_id_concept")
        ),
        sa.ForeignKeyConstraint(
            ["release_id"], ["release.id"], name=op.f("fk_release_member_release_id_release")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["concept_version.id"],
            name=op.f("fk_release_member_version_id_concept_version"),
        ),
        sa.PrimaryKeyConstraint("release_id", "concept_id", name=op.f("pk_release_member")),
    )
    op.create_index(
        op.f("ix_release_member_version_id"), "release_member", ["version_id"], unique=False
    )
    op.create_table(
        "version_anchors",
        sa.Column("version_id", sa.Integer(), nullable=False),
        sa.Column("space_id", sa.Integer(), nullable=False),
        sa.Column("anchor_set_id", sa.Integer(), nullable=False),
        sa.Column("scorer", sa.Text(), nullable=False),
        sa.Column("scorer_blob", sa.String(length=64), nullable=False),
        sa.Column("scorer_digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["anchor_set_id"],
            ["anchor_set.id"],
            name=op.f("fk_version_anchors_anchor_set_id_anchor_set"),
        ),
        sa.ForeignKeyConstraint(
            ["space_id"], ["anchor_space.id"], name=op.f("fk_version_anchors_space_id_anchor_space")
        ),
        sa.ForeignKeyConstraint(
            ["version_id"],
            ["concept_version.id"],
            name=op.f("fk_version_anchors_version_id_concept_version"),
        ),
        sa.PrimaryKeyConstraint("version_id", "space_id", name=op.f("pk_version_anchors")),
    )
    op.create_index(
        op.f("ix_version_anchors_anchor_set_id"), "version_anchors", ["anchor_set_id"], unique=False
    )
    guards.create(op.get_bind(), GUARDS)


def downgrade() -> None:
    guards.drop(op.get_bind())
    op.drop_index(op.f("ix_version_anchors_anchor_set_id"), table_name="version_anchors")
    op.drop_table("version_anchors")
    op.drop_index(op.f("ix_release_member_version_id"), table_name="release_member")
    op.drop_table("release_member")
    op.drop_table("release")
    op.drop_table("concept_version")
    op.drop_index(op.f("ix_anchor_set_space_id"), table_name="anchor_set")
    op.drop_index(op.f("ix_anchor_set_digest"), table_name="anchor_set")
    op.drop_table("anchor_set")
    op.drop_table("concept")
    op.drop_table("bundle")
    op.drop_table("audit_event")
    op.drop_table("anchor_space")
