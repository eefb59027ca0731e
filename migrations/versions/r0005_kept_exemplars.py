"""Pictures that were kept on purpose, with who they are from and until when.

Revision: 0005, revises 0004.
"""

import sqlalchemy as sa
from alembic import op

from migrations.versions import r0004_jobs
from registry.store import guards

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEPT = guards.changed("id", "concept_id", "sha256", "created_at", "created_by")
GUARDS = (
    *r0004_jobs.GUARDS,
    guards.Guard(  # It may be masked, left out and forgotten, but never become another picture.
        "kept_exemplar", ("id", "concept_id, sha256"), update=_KEPT, delete="1 = 0"
    ),
)


def upgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.create_table(
        "kept_exemplar",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("concept_id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("picture", sa.String(length=64), nullable=False),
        sa.Column("mask", sa.String(length=64), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.Column("benign", sa.Boolean(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("legal_basis", sa.Text(), nullable=False),
        sa.Column("retain_until", sa.String(length=27), nullable=False),
        sa.Column("excluded", sa.Text(), nullable=True),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["concept_id"], ["concept.id"], name=op.f("fk_kept_exemplar_concept_id_concept")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_kept_exemplar")),
        sa.UniqueConstraint(
            "concept_id", "sha256", name=op.f("uq_kept_exemplar_concept_id_sha256")
        ),
        sqlite_autoincrement=True,
    )
    for column in ("sha256", "retain_until"):
        op.create_index(op.f(f"ix_kept_exemplar_{column}"), "kept_exemplar", [column])
    guards.create(connection, GUARDS)


def downgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.drop_table("kept_exemplar")
    guards.create(connection, r0004_jobs.GUARDS)
