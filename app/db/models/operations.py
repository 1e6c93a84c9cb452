"""Who works on what, and what happened: work items, workers, events."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, LeaseColumns, LeaseState, one_of, utc_now


class WorkItem(LeaseColumns, Base):
    """Everything a worker does under a lease that is not predicting: register, fuse."""

    __tablename__ = "work_items"
    __table_args__ = (
        one_of("state", LeaseState),
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
