"""Keep the per-image outcomes of evaluations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "evaluation_outcomes",
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("member_position", sa.Integer(), nullable=True),
        sa.Column("artifact", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id", "member_position"],
            ["evaluation_members.evaluation_id", "evaluation_members.position"],
            name="fk_evaluation_outcomes_member",
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_evaluation_outcomes_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name=op.f("pk_evaluation_outcomes")),
        sa.UniqueConstraint(
            "evaluation_id", "member_position", name=op.f("uq_evaluation_outcomes_evaluation_id_member_position")
        ),
    )


def downgrade() -> None:
    op.drop_table("evaluation_outcomes")
