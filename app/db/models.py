"""The tables: columns, constraints and relationships only. In one file, though long, since they refer to each other.

Vocabulary: docs/architecture.md.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    String,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import NEVER, Base, Id, LeaseColumns, utc_now


class RegistrationState(StrEnum):
    """Of a checkpoint or data set: a worker opens the files, so a new row is not ready at once."""

    REGISTERING = "registering"
    READY = "ready"
    FAILED = "failed"


class EvaluationStatus(StrEnum):
    """Of an evaluation."""

    QUEUED = "queued"
    PREDICTING = "predicting"
    FUSING = "fusing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


LIVE_STATUSES = (EvaluationStatus.QUEUED, EvaluationStatus.PREDICTING, EvaluationStatus.FUSING)


#: Of evaluations and their work; the highest goes first.
PRIORITIES = range(10)


class LeaseState(StrEnum):
    """Of a prediction part or work item."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"


def _one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Checkpoint(Base):
    """Weights by sha256, with the architecture, preprocessing and training scale that go with them."""

    __tablename__ = "checkpoints"
    __table_args__ = (_one_of("state", RegistrationState), Index(None, "fingerprint"))

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=RegistrationState.REGISTERING)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    source: Mapped[str]
    path: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    # Digest of sha256, architecture and preprocessing: what posteriors depend on. The training scale only chooses Q.
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    architecture: Mapped[dict[str, Any] | None]
    architecture_name: Mapped[str | None] = mapped_column(String(64))
    classes: Mapped[int | None]
    parameters: Mapped[int | None] = mapped_column(BigInteger)
    macs: Mapped[float | None]
    training_scale_min: Mapped[int | None]
    training_scale_max: Mapped[int | None]
    preprocessing: Mapped[dict[str, Any] | None]
    class_names: Mapped[list[str] | None]
    tags: Mapped[list[str]] = mapped_column(default=list)
    notes: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class Dataset(Base):
    """Labelled images below a folder, fingerprinted; the index of ids, labels and hashes is an artifact."""

    __tablename__ = "datasets"
    __table_args__ = (_one_of("state", RegistrationState), Index(None, "fingerprint"))

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    state: Mapped[str] = mapped_column(String(16), default=RegistrationState.REGISTERING)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    # What was asked for: a folder, or a manifest.
    source: Mapped[str]
    # The folder that the images' paths lie under, where it is not `source`.
    root: Mapped[str | None]
    # Where labels are read from, unless they are the names of folders: a manifest, or the folder of ImageNet's devkit.
    label_source: Mapped[str | None]
    format: Mapped[str | None] = mapped_column(String(32))
    images: Mapped[int | None]
    classes: Mapped[list[str] | None]
    fingerprint: Mapped[str | None] = mapped_column(String(64))
    index_key: Mapped[str | None]
    index_sha256: Mapped[str | None] = mapped_column(String(64))
    # (width, height) of the first images in canonical order, a fair sample from which costs are estimated.
    sample_sizes: Mapped[list[Any] | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class PredictionSet(Base):
    """Posteriors of checkpoint x data set x view: the unit of reuse. Parts are carved from its frontier on."""

    __tablename__ = "prediction_sets"
    __table_args__ = (
        # Named here since the convention's name would be longer than the 63 bytes that PostgreSQL allows.
        UniqueConstraint(
            "checkpoint_fingerprint",
            "dataset_fingerprint",
            "view_digest",
            "engine_version",
            "generation",
            name="uq_prediction_sets_identity",
        ),
        CheckConstraint("frontier BETWEEN 0 AND images", name="frontier_in_range"),
    )

    id: Mapped[Id]
    checkpoint_fingerprint: Mapped[str] = mapped_column(String(64))
    dataset_fingerprint: Mapped[str] = mapped_column(String(64))
    view_digest: Mapped[str] = mapped_column(String(64))
    engine_version: Mapped[int]
    generation: Mapped[int] = mapped_column(default=0)
    # Any rows with these fingerprints would do; these name the files that workers open.
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"), index=True)
    view: Mapped[dict[str, Any]]
    images: Mapped[int]
    classes: Mapped[int]
    # Parts begin and end on multiples of `block`: batches never straddle one, so results do not depend on the cutting.
    block: Mapped[int]
    macs_per_image: Mapped[float]
    frontier: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)

    checkpoint: Mapped[Checkpoint] = relationship()
    dataset: Mapped[Dataset] = relationship()


class PredictionPart(LeaseColumns, Base):
    """Images [start, stop) of a prediction set in canonical order: the unit of lease and resume."""

    __tablename__ = "prediction_parts"
    __table_args__ = (
        UniqueConstraint("set_id", "start"),
        _one_of("state", LeaseState),
        CheckConstraint("start < stop", name="not_empty"),
        # What is not done is little, whatever the size of the table.
        Index(
            "ix_prediction_parts_open",
            "set_id",
            "start",
            sqlite_where=text("state <> 'done'"),
            postgresql_where=text("state <> 'done'"),
        ),
        Index(
            "ix_prediction_parts_leased",
            "lease_until",
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
        Index(
            "ix_prediction_parts_unreadable",
            "set_id",
            sqlite_where=text("n_unreadable > 0"),
            postgresql_where=text("n_unreadable > 0"),
        ),
    )

    id: Mapped[Id]
    set_id: Mapped[str] = mapped_column(ForeignKey("prediction_sets.id"), index=True)
    start: Mapped[int]
    stop: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default=LeaseState.PENDING)
    artifact: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    size_bytes: Mapped[int | None] = mapped_column(BigInteger)
    # [{"index", "image_id", "reason"}]: recorded whatever the policy of whoever asked first.
    unreadable: Mapped[list[Any]] = mapped_column(default=list)
    n_unreadable: Mapped[int] = mapped_column(default=0)
    # Images (dense) or crops of one forward pass; before the end, the most a lease may try after others vanished.
    batch: Mapped[int | None]
    seconds: Mapped[float | None]
    environment: Mapped[dict[str, Any] | None]

    prediction_set: Mapped[PredictionSet] = relationship()


class WorkItem(LeaseColumns, Base):
    """Everything a worker does under a lease that is not predicting: register, fuse."""

    __tablename__ = "work_items"
    __table_args__ = (
        _one_of("state", LeaseState),
        Index(
            "ix_work_items_pending",
            "queue",
            "priority",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(
            "ix_work_items_leased",
            "lease_until",
            sqlite_where=text("state = 'leased'"),
            postgresql_where=text("state = 'leased'"),
        ),
    )

    id: Mapped[Id]
    kind: Mapped[str] = mapped_column(String(32))
    queue: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int] = mapped_column(default=5)
    state: Mapped[str] = mapped_column(String(16), default=LeaseState.PENDING)
    payload: Mapped[dict[str, Any]]
    checkpoint_id: Mapped[str | None] = mapped_column(ForeignKey("checkpoints.id"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("evaluations.id"), index=True)


class Evaluation(Base):
    """A request: data set, checkpoints, protocol, fusion. Produces scores."""

    __tablename__ = "evaluations"
    __table_args__ = (
        _one_of("status", EvaluationStatus),
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority_in_range"),
        CheckConstraint("unreadable IN ('fail', 'skip')", name="unreadable_known"),
        # The order in which evaluations of one priority get their turn.
        Index(
            "ix_evaluations_turn",
            "priority",
            "last_turn_at",
            "id",
            sqlite_where=text("status IN ('queued', 'predicting')"),
            postgresql_where=text("status IN ('queued', 'predicting')"),
        ),
        Index(None, "dataset_id", "created_at"),
    )

    id: Mapped[Id]
    status: Mapped[str] = mapped_column(String(16), default=EvaluationStatus.QUEUED)
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    protocol: Mapped[dict[str, Any]]
    protocol_name: Mapped[str | None] = mapped_column(String(64))
    fusion: Mapped[dict[str, Any]]
    # Scored images: the first `images` in canonical order.
    images: Mapped[int]
    unreadable: Mapped[str] = mapped_column(String(8), default="fail")
    force: Mapped[bool] = mapped_column(default=False)
    priority: Mapped[int] = mapped_column(default=5)
    request: Mapped[dict[str, Any]]
    request_digest: Mapped[str] = mapped_column(String(64))
    idempotency_key: Mapped[str | None] = mapped_column(String(200), unique=True)
    # When a worker last took a slice for it: at equal priority the one that waited longest comes next. Never null: the
    # two databases disagree on where nulls sort.
    last_turn_at: Mapped[dt.datetime] = mapped_column(default=NEVER)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    provenance: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]

    dataset: Mapped[Dataset] = relationship()
    members: Mapped[list[EvaluationMember]] = relationship(
        order_by="EvaluationMember.position", back_populates="evaluation"
    )


class EvaluationMember(Base):
    """One checkpoint of an evaluation, with its own protocol and weight."""

    __tablename__ = "evaluation_members"

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    protocol: Mapped[dict[str, Any]]
    protocol_name: Mapped[str | None] = mapped_column(String(64))
    weight: Mapped[float] = mapped_column(default=1.0)

    evaluation: Mapped[Evaluation] = relationship(back_populates="members")
    checkpoint: Mapped[Checkpoint] = relationship()
    sets: Mapped[list[EvaluationSet]] = relationship(order_by="EvaluationSet.view_position", viewonly=True)


class EvaluationSet(Base):
    """Which prediction sets an evaluation wants, and how far."""

    __tablename__ = "evaluation_sets"
    __table_args__ = (
        Index(None, "set_id"),
        ForeignKeyConstraint(
            ["evaluation_id", "member_position"],
            ["evaluation_members.evaluation_id", "evaluation_members.position"],
            name="fk_evaluation_sets_member",
        ),
    )

    evaluation_id: Mapped[str] = mapped_column(String(24), primary_key=True)
    member_position: Mapped[int] = mapped_column(primary_key=True)
    view_position: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[str] = mapped_column(ForeignKey("prediction_sets.id"))
    # Images [0, stop) are wanted: the evaluation's images, rounded up to whole blocks.
    stop: Mapped[int]
    # Of the evaluation's images, those that were done already when it was submitted.
    reused: Mapped[int] = mapped_column(default=0)

    prediction_set: Mapped[PredictionSet] = relationship()


class Score(Base):
    """One named number with its n and interval, for a view, member or ensemble of an evaluation."""

    __tablename__ = "scores"
    __table_args__ = (
        UniqueConstraint("evaluation_id", "position", "metric"),
        Index(None, "metric", "subject", "value"),
    )

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), index=True)
    # Order of the rows on a page: views, then (checkpoint, mode), then checkpoints, then the ensemble.
    position: Mapped[int]
    subject: Mapped[str] = mapped_column(String(16))
    subject_name: Mapped[str] = mapped_column(String(200))
    members: Mapped[list[Any]]
    scales: Mapped[list[Any] | None]
    mode: Mapped[str | None] = mapped_column(String(8))
    metric: Mapped[str] = mapped_column(String(32))
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    n: Mapped[int]
    n_unreadable: Mapped[int] = mapped_column(default=0)


class EvaluationOutcomes(Base):
    """Where the per-image outcomes of a member or of the ensemble lie: what comparisons read instead of posteriors."""

    __tablename__ = "evaluation_outcomes"
    __table_args__ = (
        UniqueConstraint("evaluation_id", "member_position"),
        ForeignKeyConstraint(
            ["evaluation_id", "member_position"],
            ["evaluation_members.evaluation_id", "evaluation_members.position"],
            name="fk_evaluation_outcomes_member",
        ),
    )

    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    # That of the scores of the same posteriors.
    position: Mapped[int] = mapped_column(primary_key=True)
    # None: the ensemble.
    member_position: Mapped[int | None]
    artifact: Mapped[str]
    sha256: Mapped[str] = mapped_column(String(64))
    size_bytes: Mapped[int] = mapped_column(BigInteger)


class Worker(Base):
    """One worker process, from its start to its end."""

    __tablename__ = "workers"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), index=True)
    host: Mapped[str] = mapped_column(String(200))
    boot_id: Mapped[str] = mapped_column(String(64))
    pid: Mapped[int]
    # Clock ticks since boot at which the process began: with boot_id and pid, an identity that is never reused.
    pid_started: Mapped[int]
    device: Mapped[str] = mapped_column(String(64))
    queues: Mapped[list[str]]
    versions: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(String(16), default="idle")
    doing: Mapped[str | None]
    images_per_second: Mapped[float | None]
    macs_per_second: Mapped[float | None]
    started_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    last_seen: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)
    stopped_at: Mapped[dt.datetime | None]


class Baseline(Base):
    """A name that people give to the ensemble or member which others are judged against, until another is promoted."""

    __tablename__ = "baselines"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    # `ID` or `ID:NAME`.
    reference: Mapped[str] = mapped_column(String(300))
    evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"))
    note: Mapped[str] = mapped_column(default="")
    promoted_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class Gate(Base):
    """One verdict on a candidate, as it was found; it never changes."""

    __tablename__ = "gates"
    __table_args__ = (CheckConstraint("verdict IN ('pass', 'fail', 'inconclusive')", name="verdict_known"),)

    id: Mapped[Id]
    # As they were asked for; a baseline's name may stand for another evaluation later.
    baseline: Mapped[str] = mapped_column(String(300))
    candidate: Mapped[str] = mapped_column(String(300))
    baseline_reference: Mapped[str] = mapped_column(String(300))
    baseline_evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"))
    candidate_evaluation_id: Mapped[str] = mapped_column(ForeignKey("evaluations.id"), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    result: Mapped[dict[str, Any]]
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)


class Event(Base):
    """Append-only history: who did what to which evaluation, part or item."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    kind: Mapped[str] = mapped_column(String(48))
    evaluation_id: Mapped[str | None] = mapped_column(String(24), index=True)
    subject_id: Mapped[str | None] = mapped_column(String(24), index=True)
    worker_id: Mapped[str | None] = mapped_column(String(24))
    token: Mapped[int | None]
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
