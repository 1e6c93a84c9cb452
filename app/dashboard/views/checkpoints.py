"""Checkpoints: list, one, registration."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.forms import CheckpointForm, attempt
from app.dashboard.paging import PAGE_SIZE, wanted
from app.db.queries import checkpoints as queries
from app.db.queries import evaluations
from app.services import checkpoints as service
from ensembles.specs import PREPROCESSING_PRESETS


@blueprint.get("/checkpoints", endpoint="checkpoints")
def list_checkpoints() -> str:
    """One page of the list."""
    with runtime().db.read() as session:
        page = queries.list_page(session, cursor=wanted("cursor"), limit=PAGE_SIZE, search=wanted("search"))
    return render_template("dashboard/checkpoints.html", page=page)


@blueprint.get("/checkpoints/<key>", endpoint="checkpoint")
def show_checkpoint(key: str) -> str:
    """One checkpoint: what it is, its layers, the newest evaluations that it is part of."""
    with runtime().db.read() as session:
        checkpoint = queries.get(session, key)
        layers = queries.layers(session, checkpoint.id) if checkpoint.state == "ready" else []
        newest = evaluations.list_page(session, cursor=None, limit=10, checkpoint=checkpoint.id)
    return render_template("dashboard/checkpoint.html", checkpoint=checkpoint, layers=layers, page=newest)


@blueprint.get("/checkpoints/new", endpoint="new_checkpoint")
def new_checkpoint() -> str:
    """The empty registration form."""
    return _form(CheckpointForm(MultiDict(request.args)))


@blueprint.post("/checkpoints/new")
def register_checkpoint() -> ResponseReturnValue:
    """Register a weights file; a worker reads it."""
    form = CheckpointForm(request.form)
    body = form.request()
    key = body and attempt(form, lambda: service.request_registration(runtime().db, runtime().settings, body))
    if not key:
        return _form(form), 422
    flash("Registered. A worker now reads the file and recognises the network.", "good")
    return redirect(url_for("dashboard.checkpoint", key=key), 303)


@blueprint.post("/checkpoints/<key>/delete")
def delete_checkpoint(key: str) -> ResponseReturnValue:
    """Forget a checkpoint that no evaluation uses."""
    service.delete(runtime().db, key)
    flash("The checkpoint is forgotten; its file is untouched.", "good")
    return redirect(url_for("dashboard.checkpoints"), 303)


def _form(form: CheckpointForm) -> str:
    return render_template(
        "dashboard/checkpoint_form.html",
        form=form,
        roots=runtime().settings.checkpoint_roots,
        preprocessing=PREPROCESSING_PRESETS,
    )
