"""Webhooks: who is told of what. Events are written down for each in the transaction that made them happen."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.config import Settings
from app.db.base import new_id
from app.db.clock import now
from app.db.models import Webhook, WebhookDelivery
from app.db.session import Database
from app.db.statements import changed
from app.errors import InvalidRequestError, NotFoundError
from app.representations.base import Document
from app.representations.webhooks import PING, EventDocument, WebhookEvent, WebhookRequest
from app.services import events
from app.services.notifications.webhook_targets import problem_of

#: What a webhook's owner is told by a ping.
_GREETING = "Softvote was asked to show that this address can be reached."


def add(db: Database, settings: Settings, request: WebhookRequest) -> tuple[str, str]:
    """Make a webhook; its id and its secret, which nobody is shown again.

    Raises:
        InvalidRequestError: the address is none that may be called.
    """
    problem = problem_of(
        request.url, allow_private=settings.webhook_allow_private, allow_http=settings.webhook_allow_http
    )
    if problem is not None:
        raise InvalidRequestError([problem])
    webhook_id, secret = new_id(), f"whsec_{secrets.token_urlsafe(32)}"
    with db.write() as session:
        told = [event.value for event in WebhookEvent if event in request.events]
        session.add(Webhook(id=webhook_id, url=request.url, events=told, secret=secret, note=request.note))
        events.record(session, "webhook_added", subject_id=webhook_id)
    return webhook_id, secret


def remove(db: Database, webhook_id: str) -> None:
    """Forget a webhook and its deliveries; what is on its way still arrives.

    Raises:
        NotFoundError: there is none.
    """
    with db.write() as session:
        # Whoever writes a delivery holds the webhook: then this waits, and then there is none after it.
        session.execute(select(Webhook.id).where(Webhook.id == webhook_id).with_for_update())
        changed(session, delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id))
        if not changed(session, delete(Webhook).where(Webhook.id == webhook_id)):
            raise NotFoundError("webhook", webhook_id)
        events.record(session, "webhook_removed", subject_id=webhook_id)


def ping(db: Database, webhook_id: str) -> str:
    """Send one webhook an event that means nothing; the id of its delivery.

    Raises:
        NotFoundError: there is none.
    """
    with db.write() as session:
        if not _hold(session, [webhook_id]):
            raise NotFoundError("webhook", webhook_id)
        return _write(session, webhook_id, PING, {"message": _GREETING, "webhook": webhook_id})


def is_wanted(session: Session, event: WebhookEvent | str) -> bool:
    """Whether anybody is told of such events: where not, no document need be made."""
    return bool(_listeners(session, WebhookEvent(event)))


def enqueue(session: Session, event: WebhookEvent | str, document: Document) -> int:
    """Write an event down for every webhook that is told of its kind; the scheduler delivers it.

    Args:
        session: of the transaction in which it happens: both are kept or neither.
        event: one of `WebhookEvent`.
        document: what happened, as it is sent under `data`.

    Returns:
        How many are told.

    Raises:
        ValueError: no such event.
    """
    kind = WebhookEvent(event)
    # One that is removed meanwhile is told nothing; the others are held until this transaction ends.
    told = _hold(session, _listeners(session, kind))
    for webhook_id in told:
        _write(session, webhook_id, kind.value, document.model_dump(mode="json"))
    return len(told)


def _listeners(session: Session, event: WebhookEvent) -> list[str]:
    rows = session.execute(select(Webhook.id, Webhook.events).order_by(Webhook.id))
    return [webhook_id for webhook_id, wanted in rows if event in wanted]


def _hold(session: Session, ids: Sequence[str]) -> Sequence[str]:
    held = select(Webhook.id).where(Webhook.id.in_(ids)).order_by(Webhook.id)
    return session.scalars(held.with_for_update(read=True, key_share=True)).all() if ids else []


def _write(session: Session, webhook_id: str, event: str, data: dict[str, object]) -> str:
    delivery_id, at = new_id(), now(session)
    body = EventDocument(delivery=delivery_id, event=event, created_at=at, data=data).model_dump_json()
    session.add(
        WebhookDelivery(id=delivery_id, webhook_id=webhook_id, event=event, body=body, due_at=at, created_at=at)
    )
    return delivery_id
