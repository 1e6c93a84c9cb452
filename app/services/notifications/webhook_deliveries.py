"""Deliveries of webhooks: taken by whoever is first, tried again ever more rarely, given up after about a day.

Any number of schedulers may deliver. Taking one moves its due time beyond the longest attempt, in one conditional
UPDATE, so nobody else takes it meanwhile; if whoever took it dies, it comes due again. So each is delivered at least
once, and its id tells a receiver what came twice.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from app.db.clock import now
from app.db.conditions import is_any
from app.db.models import DeliveryState, Webhook, WebhookDelivery
from app.db.session import Database
from app.db.statements import changed

#: Nobody else takes a delivery for so long after somebody did; an attempt takes far less.
TAKEN_SECONDS = 60.0
#: After the first failed attempt; three times as much after each further one: 27 hours from the first to the last.
BACK_OFF_SECONDS = 10.0
MAX_ATTEMPTS = 10
#: What is over is kept for so many days.
KEPT_DAYS = 30
#: Of one webhook at once: one that answers slowly must not make the others wait.
_AT_ONCE = 4
_MAX_ERROR = 200


@dataclass(frozen=True)
class Attempt:
    """One delivery in hand, and what is sent for it.

    Attributes:
        number: of the attempt, from 1; the fencing token of its outcome.
    """

    id: str
    number: int
    url: str
    secret: str
    event: str
    body: str


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to: an HTTP status, or the error that left none.

    Attributes:
        status: of the answer; 200 to 299 is a delivery.
        error: why it is none, in a few words of ours; nothing of the answer's body.
    """

    status: int | None = None
    error: str | None = None

    @property
    def delivered(self) -> bool:
        """Whether the receiver has it."""
        return self.status is not None and 200 <= self.status <= 299


def take(db: Database, limit: int) -> list[Attempt]:
    """Take what is due, the longest due first, at most a few of each webhook."""
    with db.read() as session:
        place = func.row_number().over(partition_by=WebhookDelivery.webhook_id, order_by=WebhookDelivery.due_at)
        due = (
            select(WebhookDelivery.id, WebhookDelivery.attempts, WebhookDelivery.due_at, place.label("place"))
            .where(is_any(WebhookDelivery.state, DeliveryState.PENDING), WebhookDelivery.due_at <= now(session))
            .subquery()
        )
        first = select(due.c.id, due.c.attempts).where(due.c.place <= _AT_ONCE).order_by(due.c.due_at, due.c.id)
        found = session.execute(first.limit(limit)).all()
    if not found:
        return []
    with db.write() as session:
        at = now(session)
        taken = {}
        for delivery_id, attempts in found:
            # As it was seen: whoever came first has moved it on.
            seen = (
                WebhookDelivery.id == delivery_id,
                WebhookDelivery.state == DeliveryState.PENDING,
                WebhookDelivery.attempts == attempts,
                WebhookDelivery.due_at <= at,
            )
            if attempts >= MAX_ATTEMPTS:
                # Whoever made the last attempt vanished with it.
                over = {"state": DeliveryState.DEAD, "ended_at": at}
                changed(session, update(WebhookDelivery).where(*seen).values(**over))
                continue
            held = {"attempts": attempts + 1, "due_at": at + dt.timedelta(seconds=TAKEN_SECONDS)}
            if changed(session, update(WebhookDelivery).where(*seen).values(**held)):
                taken[delivery_id] = attempts + 1
        wanted = (
            select(WebhookDelivery.id, Webhook.url, Webhook.secret, WebhookDelivery.event, WebhookDelivery.body)
            .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
            .where(WebhookDelivery.id.in_(taken))
            .order_by(WebhookDelivery.due_at, WebhookDelivery.id)
        )
        return [
            Attempt(delivery_id, taken[delivery_id], url, secret, event, body)
            for delivery_id, url, secret, event, body in session.execute(wanted)
        ]


def settle(db: Database, attempt: Attempt, outcome: Outcome) -> bool:
    """Note what an attempt came to; whether it still counted: once a later one has begun, this one's word is old."""
    with db.write() as session:
        at = now(session)
        columns: dict[str, object] = {
            "status": outcome.status,
            "error": None if outcome.delivered else (outcome.error or f"answered {outcome.status}")[:_MAX_ERROR],
        }
        if outcome.delivered or attempt.number >= MAX_ATTEMPTS:
            columns["state"] = DeliveryState.DELIVERED if outcome.delivered else DeliveryState.DEAD
            columns["ended_at"] = at
        else:
            columns["due_at"] = at + dt.timedelta(seconds=back_off(attempt.number))
        ours = (
            WebhookDelivery.id == attempt.id,
            WebhookDelivery.state == DeliveryState.PENDING,
            WebhookDelivery.attempts == attempt.number,
        )
        return bool(changed(session, update(WebhookDelivery).where(*ours).values(**columns)))


def back_off(attempts: int) -> float:
    """Seconds from the end of failed attempt number `attempts` to the next."""
    return float(BACK_OFF_SECONDS * 3 ** (attempts - 1))


def forget_old(db: Database) -> int:
    """Remove deliveries that were over long ago; how many."""
    with db.write() as session:
        before = now(session) - dt.timedelta(days=KEPT_DAYS)
        old = (WebhookDelivery.state != DeliveryState.PENDING, WebhookDelivery.ended_at < before)
        return changed(session, delete(WebhookDelivery).where(*old))
