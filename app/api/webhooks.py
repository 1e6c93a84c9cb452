"""/webhooks."""

from __future__ import annotations

from flask import Response

from app.access.rules import needs
from app.api.blueprints import PREFIX, accepted, answer, blueprint, declares, described, runtime
from app.api.schemas import IdPath, PageQuery
from app.db.queries import webhooks as queries
from app.errors import InvalidRequestError, NotFoundError
from app.representations.base import Page
from app.representations.requests import EmptyRequest
from app.representations.webhooks import (
    CreatedWebhookDocument,
    DeliveryDocument,
    PingDocument,
    WebhookDocument,
    WebhookRequest,
)
from app.services.notifications import webhooks as service

resource = blueprint("webhooks", "Addresses that are told of what happens, by signed requests.")

CREATED = described(resource, CreatedWebhookDocument, "Location")
ACCEPTED = described(resource, PingDocument, "Location", "Retry-After")


@resource.get("/webhooks", responses=declares({200: Page[WebhookDocument]}))
@needs("admin")
def list_webhooks(query: PageQuery) -> Response:
    """List webhooks."""
    with runtime().db.read() as session:
        return answer(queries.list_page(session, cursor=query.cursor, limit=query.limit))


@resource.post("/webhooks", responses=declares({201: CREATED}, InvalidRequestError, unsafe=True))
@needs("admin")
def add_webhook(body: WebhookRequest) -> Response:
    """Tell an address of events; the answer shows the signing secret, this once."""
    webhook_id, secret = service.add(runtime().db, runtime().settings, body)
    with runtime().db.read() as session:
        document = CreatedWebhookDocument(secret=secret, **queries.get(session, webhook_id).model_dump())
    return answer(document, 201, {"Location": f"{PREFIX}/webhooks/{webhook_id}"})


@resource.get("/webhooks/<id>", responses=declares({200: WebhookDocument}, NotFoundError))
@needs("admin")
def get_webhook(path: IdPath) -> Response:
    """Show one webhook."""
    with runtime().db.read() as session:
        return answer(queries.get(session, path.id))


@resource.delete("/webhooks/<id>", responses=declares({204: None}, NotFoundError, unsafe=True))
@needs("admin")
def remove_webhook(path: IdPath) -> Response:
    """Forget a webhook and its deliveries."""
    service.remove(runtime().db, path.id)
    return Response(status=204)


@resource.get("/webhooks/<id>/deliveries", responses=declares({200: Page[DeliveryDocument]}, NotFoundError))
@needs("admin")
def list_deliveries(path: IdPath, query: PageQuery) -> Response:
    """List what a webhook was told, newest first."""
    with runtime().db.read() as session:
        return answer(queries.deliveries(session, path.id, cursor=query.cursor, limit=query.limit))


@resource.post("/webhooks/<id>/ping", responses=declares({202: ACCEPTED}, NotFoundError, unsafe=True))
@needs("admin")
def ping_webhook(path: IdPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Send a webhook an event that means nothing, to see whether it arrives."""
    delivery_id = service.ping(runtime().db, path.id)
    return accepted(PingDocument(delivery=delivery_id), f"{PREFIX}/webhooks/{path.id}/deliveries")
