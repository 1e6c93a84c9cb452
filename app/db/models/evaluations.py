"""What is asked and answered: evaluations, their members and sets, scores, outcomes."""

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

from app.db.base import NEVER, Base, Id, one_of, utc_now
from app.db.models.catalogue import Checkpoint, Dataset
from app.db.models.predictions import PredictionSet


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


class Evaluation(Base):
    """A request: data set, checkpoints, protocol, fusion. Produces scores."""

    __tablename__ = "evaluations"
    __table_args__ = (
        one_of("status", EvaluationStatus),
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
    # The saved ensemble that was asked for, as it was then; null where the request listed checkpoints.
    ensemble: Mapped[dict[str, Any] | None]
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
