"""Keep named baselines and the verdicts of gates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "baselines",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("reference", sa.String(length=300), nullable=False),
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("promoted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_baselines_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_baselines")),
        sa.UniqueConstraint("name", name=op.f("uq_baselines_name")),
    )
    op.create_table(
        "gates",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("baseline", sa.String(length=300), nullable=False),
        sa.Column("candidate", sa.String(length=300), nullable=False),
        sa.Column("baseline_reference", sa.String(length=300), nullable=False),
        sa.Column("baseline_evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("candidate_evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("verdict IN ('pass', 'fail', 'inconclusive')", name=op.f("ck_gates_verdict_known")),
        sa.ForeignKeyConstraint(
            ["baseline_evaluation_id"], ["evaluations.id"], name=op.f("fk_gates_baseline_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(
            ["candidate_evaluation_id"], ["evaluations.id"], name=op.f("fk_gates_candidate_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gates")),
    )
    op.create_index(op.f("ix_gates_created_at"), "gates", ["created_at"])
    op.create_index(op.f("ix_gates_candidate_evaluation_id"), "gates", ["candidate_evaluation_id"])


def downgrade() -> None:
    op.drop_table("gates")
    op.drop_table("baselines")
