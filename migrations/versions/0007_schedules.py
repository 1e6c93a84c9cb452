"""Keep schedules, their runs, and checkpoints that were overwritten in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATES = "state IN ('checking', 'evaluating', 'judging', 'done', 'failed', 'skipped')"


def upgrade() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=True),
        sa.Column("every_seconds", sa.Integer(), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_fire_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("misfire", sa.String(length=16), nullable=False),
        sa.Column("max_active", sa.Integer(), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("verify", sa.String(length=16), nullable=False),
        sa.Column("sample_images", sa.Integer(), nullable=False),
        sa.Column("tolerance", sa.Double(), nullable=False),
        sa.Column("gate", sa.JSON(), nullable=True),
        sa.Column("notify", sa.JSON(), nullable=False),
        sa.Column("reference_run_id", sa.String(length=24), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("(cron IS NULL) <> (every_seconds IS NULL)", name=op.f("ck_schedules_one_timing")),
        sa.CheckConstraint("misfire IN ('skip', 'catch_up')", name=op.f("ck_schedules_misfire_known")),
        sa.CheckConstraint("verify IN ('none', 'sample', 'full')", name=op.f("ck_schedules_verify_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_schedules_name")),
    )
    op.create_index(op.f("ix_schedules_next_fire_at"), "schedules", ["next_fire_at"])
    op.create_table(
        "schedule_runs",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("schedule_id", sa.String(length=24), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("missed_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("item_id", sa.String(length=24), nullable=True),
        sa.Column("evaluation_id", sa.String(length=24), nullable=True),
        sa.Column("verification_id", sa.String(length=24), nullable=True),
        sa.Column("previous_run_id", sa.String(length=24), nullable=True),
        sa.Column("reference_run_id", sa.String(length=24), nullable=True),
        sa.Column("request", sa.JSON(), nullable=True),
        sa.Column("fingerprints", sa.JSON(), nullable=True),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=True),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("moved_images", sa.JSON(), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("acknowledged_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("note", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("cause IN ('slot', 'catch_up', 'manual')", name=op.f("ck_schedule_runs_cause_known")),
        sa.CheckConstraint(_STATES, name=op.f("ck_schedule_runs_state_known")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_schedule_runs_evaluation_id_evaluations")
        ),
        sa.ForeignKeyConstraint(["schedule_id"], ["schedules.id"], name=op.f("fk_schedule_runs_schedule_id_schedules")),
        sa.ForeignKeyConstraint(
            ["verification_id"], ["evaluations.id"], name=op.f("fk_schedule_runs_verification_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule_runs")),
        sa.UniqueConstraint("schedule_id", "slot", name=op.f("uq_schedule_runs_schedule_id_slot")),
    )
    op.create_index(op.f("ix_schedule_runs_state"), "schedule_runs", ["state"])
    op.create_index(op.f("ix_schedule_runs_schedule_id_created_at"), "schedule_runs", ["schedule_id", "created_at"])
    op.create_table(
        "checkpoint_versions",
        sa.Column("checkpoint_id", sa.String(length=24), nullable=False),
        sa.Column("root_id", sa.String(length=24), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"],
            ["checkpoints.id"],
            name=op.f("fk_checkpoint_versions_checkpoint_id_checkpoints"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["root_id"],
            ["checkpoints.id"],
            name=op.f("fk_checkpoint_versions_root_id_checkpoints"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("checkpoint_id", name=op.f("pk_checkpoint_versions")),
    )
    op.create_index(op.f("ix_checkpoint_versions_root_id"), "checkpoint_versions", ["root_id"])


def downgrade() -> None:
    op.drop_table("checkpoint_versions")
    op.drop_table("schedule_runs")
    op.drop_table("schedules")
