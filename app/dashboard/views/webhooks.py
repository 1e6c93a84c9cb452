"""Webhooks: the list, one with what it was told, a new one with its secret."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.access.rules import needs
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.paging import PAGE_SIZE, wanted
from app.dashboard.webhook_form import WORDS, WebhookForm
from app.db.queries import webhooks as queries
from app.errors import InvalidRequestError
from app.services.notifications import webhooks as service


@blueprint.get("/webhooks", endpoint="webhooks")
@needs("admin")
def list_webhooks() -> str:
    """One page of the list."""
    with runtime().db.read() as session:
        page = queries.list_page(session, cursor=wanted("cursor"), limit=PAGE_SIZE)
        last = queries.last_deliveries(session, [one.id for one in page.items])
    return render_template("dashboard/webhooks.html", page=page, last=last)


@blueprint.get("/webhooks/<webhook_id>", endpoint="webhook")
@needs("admin")
def show_webhook(webhook_id: str) -> str:
    """One webhook and one page of what it was told."""
    return _shown(webhook_id)


@blueprint.get("/webhooks/new", endpoint="new_webhook")
@needs("admin")
def new_webhook() -> str:
    """The empty form."""
    return _form(WebhookForm(MultiDict(request.args)))


@blueprint.post("/webhooks/new")
@needs("admin")
def add_webhook() -> ResponseReturnValue:
    """Tell an address of events. The secret stands on this one answer; a redirect would have to keep it somewhere."""
    form = WebhookForm(request.form)
    body = form.request()
    if body is None:
        return _form(form), 422
    try:
        webhook_id, secret = service.add(runtime().db, runtime().settings, body)
    except InvalidRequestError as error:
        form.refuse(error)
        return _form(form), 422
    return _shown(webhook_id, secret), 201, {"Cache-Control": "no-store"}


@blueprint.post("/webhooks/<webhook_id>/ping")
@needs("admin")
def ping_webhook(webhook_id: str) -> ResponseReturnValue:
    """Send an event that means nothing."""
    service.ping(runtime().db, webhook_id)
    flash("A ping is on its way; the scheduler sends it.", "good")
    return redirect(url_for("dashboard.webhook", webhook_id=webhook_id), 303)


@blueprint.post("/webhooks/<webhook_id>/delete")
@needs("admin")
def remove_webhook(webhook_id: str) -> ResponseReturnValue:
    """Forget it and its deliveries."""
    service.remove(runtime().db, webhook_id)
    flash("Forgotten. The address is told nothing more.", "good")
    return redirect(url_for("dashboard.webhooks"), 303)


def _shown(webhook_id: str, secret: str | None = None) -> str:
    with runtime().db.read() as session:
        webhook = queries.get(session, webhook_id)
        page = queries.deliveries(session, webhook_id, cursor=wanted("cursor"), limit=PAGE_SIZE)
    return render_template("dashboard/webhook.html", webhook=webhook, page=page, secret=secret)


def _form(form: WebhookForm) -> str:
    settings = runtime().settings
    return render_template(
        "dashboard/webhook_form.html",
        form=form,
        words=WORDS,
        scheme="https:// or http://" if settings.webhook_allow_http else "https://",
        private=settings.webhook_allow_private,
    )
