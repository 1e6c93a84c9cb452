"""Posteriors: prediction sets and the parts of them that are leased."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, Id, LeaseColumns, LeaseState, one_of, utc_now
from app.db.models.catalogue import Checkpoint, Dataset


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
        one_of("state", LeaseState),
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
