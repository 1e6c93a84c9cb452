"""Who is told of what happened, and what each was told: a delivery's row is the truth of it."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db.base import Base, Id, one_of, utc_now


class DeliveryState(StrEnum):
    """Of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class Webhook(Base):
    """An address that is told of events of some kinds."""

    __tablename__ = "webhooks"

    id: Mapped[Id]
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[list[str]]
    # What deliveries are signed with. Signing needs the secret itself, so no digest of it would do.
    secret: Mapped[str] = mapped_column(String(64))
    note: Mapped[str] = mapped_column(default="")
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)


class WebhookDelivery(Base):
    """One event for one webhook, written in the transaction of what happened."""

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        one_of("state", DeliveryState),
        Index(
            "ix_webhook_deliveries_due",
            "due_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
        Index(None, "webhook_id", "created_at"),
    )

    id: Mapped[Id]
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event: Mapped[str] = mapped_column(String(48))
    # What is sent, to the byte: every attempt sends the same.
    body: Mapped[str]
    state: Mapped[str] = mapped_column(String(16), default=DeliveryState.PENDING)
    # Rises with every attempt, and is its fencing token.
    attempts: Mapped[int] = mapped_column(default=0)
    # When it may be tried; whoever takes it moves this beyond the longest attempt, so that nobody else does meanwhile.
    due_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    # What the last attempt came to.
    status: Mapped[int | None]
    error: Mapped[str | None] = mapped_column(String(200))
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    ended_at: Mapped[dt.datetime | None]
