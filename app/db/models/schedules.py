"""What is evaluated again and again: schedules, and what each of their slots found."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, one_of, utc_now


class RunState(StrEnum):
    """Of one run of a schedule."""

    CHECKING = "checking"
    EVALUATING = "evaluating"
    JUDGING = "judging"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"


#: A run that is not over: so many of one schedule stand at a time.
LIVE_RUNS = (RunState.CHECKING, RunState.EVALUATING, RunState.JUDGING)


class Schedule(Base):
    """An evaluation request that is made at every slot, and what its result is held against."""

    __tablename__ = "schedules"
    __table_args__ = (
        CheckConstraint("(cron IS NULL) <> (every_seconds IS NULL)", name="one_timing"),
        CheckConstraint("misfire IN ('skip', 'catch_up')", name="misfire_known"),
        CheckConstraint("verify IN ('none', 'sample', 'full')", name="verify_known"),
    )

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    # Rises with every edit; what If-Match compares.
    version: Mapped[int] = mapped_column(default=1)
    cron: Mapped[str | None] = mapped_column(String(200))
    every_seconds: Mapped[int | None]
    timezone: Mapped[str] = mapped_column(String(64))
    # From which an interval counts.
    starts_at: Mapped[dt.datetime]
    # The slot that comes next; None while paused.
    next_fire_at: Mapped[dt.datetime | None] = mapped_column(index=True)
    misfire: Mapped[str] = mapped_column(String(16))
    max_active: Mapped[int]
    # An evaluation request, with a tag in place of checkpoints where one is given.
    target: Mapped[dict[str, Any]]
    verify: Mapped[str] = mapped_column(String(16))
    sample_images: Mapped[int]
    tolerance: Mapped[float]
    # {"metric", "margin", "alpha"}; None judges nothing.
    gate: Mapped[dict[str, Any] | None]
    notify: Mapped[list[str]]
    # The run that regressions are judged against: the first, or the one that was accepted last.
    reference_run_id: Mapped[str | None] = mapped_column(String(24))
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class CheckpointVersion(Base):
    """A weights file that was overwritten in place: what was found there later, as a checkpoint of its own."""

    __tablename__ = "checkpoint_versions"

    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), primary_key=True)
    # The checkpoint that was registered from the file first.
    root_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id", ondelete="CASCADE"), index=True)
    found_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class ScheduleRun(Base):
    """What became of one slot. A slot has one run, whoever fires it and however often."""

    __tablename__ = "schedule_runs"
    __table_args__ = (
        UniqueConstraint("schedule_id", "slot"),
        one_of("state", RunState),
        Index(None, "state"),
        Index(None, "schedule_id", "created_at"),
        CheckConstraint("cause IN ('slot', 'catch_up', 'manual')", name="cause_known"),
    )

    id: Mapped[Id]
    schedule_id: Mapped[str] = mapped_column(ForeignKey("schedules.id"))
    slot: Mapped[dt.datetime]
    cause: Mapped[str] = mapped_column(String(16), default="slot")
    # Of a catch-up: the first slot that nobody fired.
    missed_since: Mapped[dt.datetime | None]
    state: Mapped[str] = mapped_column(String(16), default=RunState.CHECKING)
    # The work item that is under way, if one is.
    item_id: Mapped[str | None] = mapped_column(String(24))
    # Whose number this run has, and the evaluation that computed posteriors again to see whether they moved.
    evaluation_id: Mapped[str | None] = mapped_column(ForeignKey("evaluations.id"))
    verification_id: Mapped[str | None] = mapped_column(ForeignKey("evaluations.id"))
    previous_run_id: Mapped[str | None] = mapped_column(String(24))
    reference_run_id: Mapped[str | None] = mapped_column(String(24))
    # What was asked, with the versions of the checkpoints that were found; and by content what that is.
    request: Mapped[dict[str, Any] | None]
    fingerprints: Mapped[dict[str, Any] | None]
    # One object for each environment that took part.
    environment: Mapped[list[Any]] = mapped_column(default=list)
    verdict: Mapped[str | None] = mapped_column(String(24))
    # Sentences for people, the gravest first.
    findings: Mapped[list[Any]] = mapped_column(default=list)
    # What the verdict rests on: dataset, models, moved (counts), comparison, gate.
    detail: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Images whose answer moved: [id, top-1 before, top-1 now, largest difference of a posterior].
    moved_images: Mapped[list[Any]] = mapped_column(default=list, deferred=True)
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    acknowledged_at: Mapped[dt.datetime | None]
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[dt.datetime | None]
