"""Evaluations of versions, the policy's gate, and which evaluation a reviewer saw.

Revision: 0003, revises 0002.
"""

import sqlalchemy as sa
from alembic import op

from migrations.versions import r0002_registry_in_full
from registry.store import guards

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

GUARDS = (
    *r0002_registry_in_full.GUARDS,
    guards.append_only("evaluation", "id", "concept_id, content_digest, digest"),
)


def upgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.create_table(
        "evaluation",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("concept_id", sa.Integer(), nullable=False),
        sa.Column("content_digest", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concept.id"], name=op.f("fk_evaluation_concept_id_concept")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint(
            "concept_id", "content_digest", "digest",
            name=op.f("uq_evaluation_concept_id_content_digest_digest"),
        ),
    )  # fmt: skip
    # Adding a column keeps the table: batch mode would drop it under its foreign keys.
    op.add_column("policy", sa.Column("gate", sa.Text(), nullable=True))
    op.add_column("review", sa.Column("evaluation", sa.String(length=64), nullable=True))
    guards.create(connection, GUARDS)


def downgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.drop_column("review", "evaluation")
    op.drop_column("policy", "gate")
    op.drop_table("evaluation")
    guards.create(connection, r0002_registry_in_full.GUARDS)
