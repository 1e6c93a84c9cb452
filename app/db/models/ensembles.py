"""Saved ensembles: what they fuse and how, and on which images they were chosen."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.db.base import Base, Id, utc_now
from app.db.models.catalogue import Checkpoint


class Ensemble(Base):
    """A named fusion. What it computes never changes; its name and notes may."""

    __tablename__ = "ensembles"
    __table_args__ = (CheckConstraint("rule IN ('mean', 'geometric', 'vote')", name="rule_known"),)

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(200), unique=True)
    notes: Mapped[str] = mapped_column(default="")
    rule: Mapped[str] = mapped_column(String(16))
    temperature: Mapped[float | None]
    # Where and how it was chosen; null: fixed beforehand.
    chosen: Mapped[dict[str, Any] | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now, index=True)

    members: Mapped[list[SavedMember]] = relationship(order_by="SavedMember.position")


class SavedMember(Base):
    """A checkpoint of a saved ensemble under a protocol; a checkpoint may come several times, with other views."""

    __tablename__ = "ensemble_members"

    ensemble_id: Mapped[str] = mapped_column(ForeignKey("ensembles.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    checkpoint_id: Mapped[str] = mapped_column(ForeignKey("checkpoints.id"), index=True)
    # Whole, with its test scales listed.
    protocol: Mapped[dict[str, Any]]
    weight: Mapped[float]

    checkpoint: Mapped[Checkpoint] = relationship()
