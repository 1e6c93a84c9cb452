"""Keep saved ensembles, and of an evaluation the one that it is of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ensembles",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("notes", sa.String(), nullable=False),
        sa.Column("rule", sa.String(length=16), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("chosen", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("rule IN ('mean', 'geometric', 'vote')", name=op.f("ck_ensembles_rule_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ensembles")),
        sa.UniqueConstraint("name", name=op.f("uq_ensembles_name")),
    )
    op.create_index(op.f("ix_ensembles_created_at"), "ensembles", ["created_at"])
    op.create_table(
        "ensemble_members",
        sa.Column("ensemble_id", sa.String(length=24), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=24), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_ensemble_members_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(
            ["ensemble_id"], ["ensembles.id"], name=op.f("fk_ensemble_members_ensemble_id_ensembles")
        ),
        sa.PrimaryKeyConstraint("ensemble_id", "position", name=op.f("pk_ensemble_members")),
    )
    op.create_index(op.f("ix_ensemble_members_checkpoint_id"), "ensemble_members", ["checkpoint_id"])
    op.add_column("evaluations", sa.Column("ensemble", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("evaluations", "ensemble")
    op.drop_table("ensemble_members")
    op.drop_table("ensembles")
