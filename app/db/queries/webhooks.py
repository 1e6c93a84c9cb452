"""Reads of webhooks and their deliveries; secrets are never among them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.models import DeliveryState, Webhook, WebhookDelivery
from app.db.queries.pages import newest_first
from app.errors import NotFoundError
from app.representations.base import Page
from app.representations.webhooks import DeliveryDocument, WebhookDocument


def get(session: Session, webhook_id: str) -> WebhookDocument:
    """One webhook.

    Raises:
        NotFoundError: there is none.
    """
    row = session.get(Webhook, webhook_id)
    if row is None:
        raise NotFoundError("webhook", webhook_id)
    return _document(row)


def list_page(session: Session, *, cursor: str | None, limit: int) -> Page[WebhookDocument]:
    """Webhooks, newest first.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    by = (Webhook.created_at, Webhook.id)
    return newest_first(
        session, select(Webhook), by, cursor=cursor, limit=limit, render=lambda rows: [_document(row) for row in rows]
    )


def deliveries(session: Session, webhook_id: str, *, cursor: str | None, limit: int) -> Page[DeliveryDocument]:
    """What one webhook was told, newest first.

    Raises:
        NotFoundError: there is no such webhook.
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    get(session, webhook_id)
    rows = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    by = (WebhookDelivery.created_at, WebhookDelivery.id)
    return newest_first(session, rows, by, cursor=cursor, limit=limit, render=_delivery_documents)


def last_deliveries(session: Session, webhook_ids: Sequence[str]) -> dict[str, DeliveryDocument]:
    """The newest delivery of each webhook that has one, by the webhook's id."""
    # Ids sort by time of creation.
    newest = select(func.max(WebhookDelivery.id)).where(WebhookDelivery.webhook_id.in_(webhook_ids))
    rows = select(WebhookDelivery).where(WebhookDelivery.id.in_(newest.group_by(WebhookDelivery.webhook_id)))
    found = session.scalars(rows).all()
    return dict(zip((row.webhook_id for row in found), _delivery_documents(found), strict=True))


def _document(row: Webhook) -> WebhookDocument:
    url = f"/api/v1/webhooks/{row.id}"
    return WebhookDocument(
        id=row.id,
        url=row.url,
        events=row.events,
        note=row.note,
        created_at=row.created_at,
        links={"self": url, "deliveries": f"{url}/deliveries"},
    )


def _delivery_documents(rows: Sequence[WebhookDelivery]) -> list[DeliveryDocument]:
    return [
        DeliveryDocument(
            id=row.id,
            event=row.event,
            state=row.state,
            attempts=row.attempts,
            status=row.status,
            error=row.error,
            created_at=row.created_at,
            due_at=row.due_at if row.state == DeliveryState.PENDING else None,
            ended_at=row.ended_at,
        )
        for row in rows
    ]
