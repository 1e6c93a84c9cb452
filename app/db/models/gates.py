"""Verdicts, and the baselines that they are given against."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, utc_now


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
