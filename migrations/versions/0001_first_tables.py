"""Make the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("architecture", sa.JSON(), nullable=True),
        sa.Column("architecture_name", sa.String(length=64), nullable=True),
        sa.Column("classes", sa.Integer(), nullable=True),
        sa.Column("parameters", sa.BigInteger(), nullable=True),
        sa.Column("macs", sa.Double(), nullable=True),
        sa.Column("training_scale_min", sa.Integer(), nullable=True),
        sa.Column("training_scale_max", sa.Integer(), nullable=True),
        sa.Column("preprocessing", sa.JSON(), nullable=True),
        sa.Column("class_names", sa.JSON(), nullable=True),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("notes", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('registering', 'ready', 'failed')", name=op.f("ck_checkpoints_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("name", name=op.f("uq_checkpoints_name")),
    )
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_checkpoints_fingerprint"), ["fingerprint"], unique=False)

    op.create_table(
        "datasets",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("root", sa.String(), nullable=True),
        sa.Column("label_source", sa.String(), nullable=True),
        sa.Column("format", sa.String(length=32), nullable=True),
        sa.Column("images", sa.Integer(), nullable=True),
        sa.Column("classes", sa.JSON(), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.Column("index_key", sa.String(), nullable=True),
        sa.Column("index_sha256", sa.String(length=64), nullable=True),
        sa.Column("sample_sizes", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("state IN ('registering', 'ready', 'failed')", name=op.f("ck_datasets_state_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_datasets_fingerprint"), ["fingerprint"], unique=False)

    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=48), nullable=False),
        sa.Column("evaluation_id", sa.String(length=24), nullable=True),
        sa.Column("subject_id", sa.String(length=24), nullable=True),
        sa.Column("worker_id", sa.String(length=24), nullable=True),
        sa.Column("token", sa.Integer(), nullable=True),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_events_evaluation_id"), ["evaluation_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_events_subject_id"), ["subject_id"], unique=False)

    op.create_table(
        "workers",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("host", sa.String(length=200), nullable=False),
        sa.Column("boot_id", sa.String(length=64), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("pid_started", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("versions", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("doing", sa.String(), nullable=True),
        sa.Column("images_per_second", sa.Double(), nullable=True),
        sa.Column("macs_per_second", sa.Double(), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_seen", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopped_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workers_last_seen"), ["last_seen"], unique=False)
        batch_op.create_index(batch_op.f("ix_workers_name"), ["name"], unique=False)

    op.create_table(
        "evaluations",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("dataset_id", sa.String(length=24), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("protocol_name", sa.String(length=64), nullable=True),
        sa.Column("fusion", sa.JSON(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("unreadable", sa.String(length=8), nullable=False),
        sa.Column("force", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("request_digest", sa.String(length=64), nullable=False),
        sa.Column("idempotency_key", sa.String(length=200), nullable=True),
        sa.Column("last_turn_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'predicting', 'fusing', 'succeeded', 'failed', 'cancelled')",
            name=op.f("ck_evaluations_status_known"),
        ),
        sa.CheckConstraint("unreadable IN ('fail', 'skip')", name=op.f("ck_evaluations_unreadable_known")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("ck_evaluations_priority_in_range")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_evaluations_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_evaluations_idempotency_key")),
    )
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evaluations_created_at"), ["created_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_evaluations_dataset_id_created_at"), ["dataset_id", "created_at"], unique=False
        )
        batch_op.create_index(
            "ix_evaluations_turn",
            ["priority", "last_turn_at", "id"],
            unique=False,
            sqlite_where=sa.text("status IN ('queued', 'predicting')"),
            postgresql_where=sa.text("status IN ('queued', 'predicting')"),
        )

    op.create_table(
        "prediction_sets",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("checkpoint_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("dataset_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("view_digest", sa.String(length=64), nullable=False),
        sa.Column("engine_version", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=24), nullable=False),
        sa.Column("dataset_id", sa.String(length=24), nullable=False),
        sa.Column("view", sa.JSON(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("classes", sa.Integer(), nullable=False),
        sa.Column("block", sa.Integer(), nullable=False),
        sa.Column("macs_per_image", sa.Double(), nullable=False),
        sa.Column("frontier", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("frontier BETWEEN 0 AND images", name=op.f("ck_prediction_sets_frontier_in_range")),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_prediction_sets_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_prediction_sets_dataset_id_datasets")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction_sets")),
        sa.UniqueConstraint(
            "checkpoint_fingerprint",
            "dataset_fingerprint",
            "view_digest",
            "engine_version",
            "generation",
            name="uq_prediction_sets_identity",
        ),
    )
    with op.batch_alter_table("prediction_sets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_prediction_sets_checkpoint_id"), ["checkpoint_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_prediction_sets_dataset_id"), ["dataset_id"], unique=False)

    op.create_table(
        "evaluation_members",
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=24), nullable=False),
        sa.Column("protocol", sa.JSON(), nullable=False),
        sa.Column("protocol_name", sa.String(length=64), nullable=True),
        sa.Column("weight", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_evaluation_members_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_evaluation_members_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "position", name=op.f("pk_evaluation_members")),
    )
    with op.batch_alter_table("evaluation_members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evaluation_members_checkpoint_id"), ["checkpoint_id"], unique=False)

    op.create_table(
        "prediction_parts",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("set_id", sa.String(length=24), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("artifact", sa.String(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.Column("size_bytes", sa.BigInteger(), nullable=True),
        sa.Column("unreadable", sa.JSON(), nullable=False),
        sa.Column("n_unreadable", sa.Integer(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("environment", sa.JSON(), nullable=True),
        sa.Column("worker_id", sa.String(length=24), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lost_leases", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('pending', 'leased', 'done', 'failed')", name=op.f("ck_prediction_parts_state_known")
        ),
        sa.CheckConstraint("start < stop", name=op.f("ck_prediction_parts_not_empty")),
        sa.ForeignKeyConstraint(
            ["set_id"], ["prediction_sets.id"], name=op.f("fk_prediction_parts_set_id_prediction_sets")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prediction_parts")),
        sa.UniqueConstraint("set_id", "start", name=op.f("uq_prediction_parts_set_id_start")),
    )
    with op.batch_alter_table("prediction_parts", schema=None) as batch_op:
        batch_op.create_index(
            "ix_prediction_parts_leased",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )
        batch_op.create_index(
            "ix_prediction_parts_open",
            ["set_id", "start"],
            unique=False,
            sqlite_where=sa.text("state <> 'done'"),
            postgresql_where=sa.text("state <> 'done'"),
        )
        batch_op.create_index(batch_op.f("ix_prediction_parts_set_id"), ["set_id"], unique=False)
        batch_op.create_index(
            "ix_prediction_parts_unreadable",
            ["set_id"],
            unique=False,
            sqlite_where=sa.text("n_unreadable > 0"),
            postgresql_where=sa.text("n_unreadable > 0"),
        )

    op.create_table(
        "scores",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=16), nullable=False),
        sa.Column("subject_name", sa.String(length=200), nullable=False),
        sa.Column("members", sa.JSON(), nullable=False),
        sa.Column("scales", sa.JSON(), nullable=True),
        sa.Column("mode", sa.String(length=8), nullable=True),
        sa.Column("metric", sa.String(length=32), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("n_unreadable", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_scores_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scores")),
        sa.UniqueConstraint(
            "evaluation_id", "position", "metric", name=op.f("uq_scores_evaluation_id_position_metric")
        ),
    )
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scores_evaluation_id"), ["evaluation_id"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_scores_metric_subject_value"), ["metric", "subject", "value"], unique=False
        )

    op.create_table(
        "work_items",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("queue", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("checkpoint_id", sa.String(length=24), nullable=True),
        sa.Column("dataset_id", sa.String(length=24), nullable=True),
        sa.Column("evaluation_id", sa.String(length=24), nullable=True),
        sa.Column("worker_id", sa.String(length=24), nullable=True),
        sa.Column("token", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lost_leases", sa.Integer(), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error_code", sa.String(length=64), nullable=True),
        sa.Column("error_message", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'leased', 'done', 'failed')", name=op.f("ck_work_items_state_known")),
        sa.ForeignKeyConstraint(
            ["checkpoint_id"], ["checkpoints.id"], name=op.f("fk_work_items_checkpoint_id_checkpoints")
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_work_items_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluations.id"], name=op.f("fk_work_items_evaluation_id_evaluations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_work_items")),
    )
    with op.batch_alter_table("work_items", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_work_items_evaluation_id"), ["evaluation_id"], unique=False)
        batch_op.create_index(
            "ix_work_items_leased",
            ["lease_until"],
            unique=False,
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )
        batch_op.create_index(
            "ix_work_items_pending",
            ["queue", "priority"],
            unique=False,
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )

    op.create_table(
        "evaluation_sets",
        sa.Column("evaluation_id", sa.String(length=24), nullable=False),
        sa.Column("member_position", sa.Integer(), nullable=False),
        sa.Column("view_position", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.String(length=24), nullable=False),
        sa.Column("stop", sa.Integer(), nullable=False),
        sa.Column("reused", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id", "member_position"],
            ["evaluation_members.evaluation_id", "evaluation_members.position"],
            name="fk_evaluation_sets_member",
        ),
        sa.ForeignKeyConstraint(
            ["set_id"], ["prediction_sets.id"], name=op.f("fk_evaluation_sets_set_id_prediction_sets")
        ),
        sa.PrimaryKeyConstraint("evaluation_id", "member_position", "view_position", name=op.f("pk_evaluation_sets")),
    )
    with op.batch_alter_table("evaluation_sets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_evaluation_sets_set_id"), ["set_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("evaluation_sets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_evaluation_sets_set_id"))

    op.drop_table("evaluation_sets")
    with op.batch_alter_table("work_items", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_work_items_pending",
            sqlite_where=sa.text("state = 'pending'"),
            postgresql_where=sa.text("state = 'pending'"),
        )
        batch_op.drop_index(
            "ix_work_items_leased",
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )
        batch_op.drop_index(batch_op.f("ix_work_items_evaluation_id"))

    op.drop_table("work_items")
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scores_metric_subject_value"))
        batch_op.drop_index(batch_op.f("ix_scores_evaluation_id"))

    op.drop_table("scores")
    with op.batch_alter_table("prediction_parts", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_prediction_parts_unreadable",
            sqlite_where=sa.text("n_unreadable > 0"),
            postgresql_where=sa.text("n_unreadable > 0"),
        )
        batch_op.drop_index(batch_op.f("ix_prediction_parts_set_id"))
        batch_op.drop_index(
            "ix_prediction_parts_open",
            sqlite_where=sa.text("state <> 'done'"),
            postgresql_where=sa.text("state <> 'done'"),
        )
        batch_op.drop_index(
            "ix_prediction_parts_leased",
            sqlite_where=sa.text("state = 'leased'"),
            postgresql_where=sa.text("state = 'leased'"),
        )

    op.drop_table("prediction_parts")
    with op.batch_alter_table("evaluation_members", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_evaluation_members_checkpoint_id"))

    op.drop_table("evaluation_members")
    with op.batch_alter_table("prediction_sets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_prediction_sets_dataset_id"))
        batch_op.drop_index(batch_op.f("ix_prediction_sets_checkpoint_id"))

    op.drop_table("prediction_sets")
    with op.batch_alter_table("evaluations", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_evaluations_turn",
            sqlite_where=sa.text("status IN ('queued', 'predicting')"),
            postgresql_where=sa.text("status IN ('queued', 'predicting')"),
        )
        batch_op.drop_index(batch_op.f("ix_evaluations_dataset_id_created_at"))
        batch_op.drop_index(batch_op.f("ix_evaluations_created_at"))

    op.drop_table("evaluations")
    with op.batch_alter_table("workers", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_workers_name"))
        batch_op.drop_index(batch_op.f("ix_workers_last_seen"))

    op.drop_table("workers")
    with op.batch_alter_table("events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_events_subject_id"))
        batch_op.drop_index(batch_op.f("ix_events_evaluation_id"))

    op.drop_table("events")
    with op.batch_alter_table("datasets", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_datasets_fingerprint"))

    op.drop_table("datasets")
    with op.batch_alter_table("checkpoints", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_checkpoints_fingerprint"))

    op.drop_table("checkpoints")
