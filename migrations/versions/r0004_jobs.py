"""Jobs: work that an actor asked for and a worker does.

Revision: 0004, revises 0003.
"""

import sqlalchemy as sa
from alembic import op

from migrations.versions import r0003_evaluations
from registry.store import guards

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

GUARDS = (
    *r0003_evaluations.GUARDS,
    guards.Guard(
        "job",
        ("id",),
        update=f"{guards.changed('id', 'kind', 'arguments', 'asked_at', 'asked_by')} "
        "OR OLD.state NOT IN ('waiting', 'running')",
    ),
)


def upgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.create_table(
        "job",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("arguments", sa.Text(), nullable=False),
        sa.Column("asked_at", sa.String(length=27), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("cancelled_by", sa.Text(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("leased_until", sa.String(length=27), nullable=True),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "state IN ('waiting', 'running', 'done', 'failed', 'cancelled')",
            name=op.f("ck_job_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index(op.f("ix_job_state"), "job", ["state"])
    guards.create(connection, GUARDS)


def downgrade() -> None:
    connection = op.get_bind()
    guards.drop(connection)
    op.drop_table("job")
    guards.create(connection, r0003_evaluations.GUARDS)
