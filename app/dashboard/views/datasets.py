"""Data sets: list, one, registration."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.forms import DatasetForm, attempt
from app.dashboard.paging import PAGE_SIZE, wanted
from app.db.queries import datasets as queries
from app.db.queries import evaluations
from app.services import datasets as service


@blueprint.get("/datasets", endpoint="datasets")
def list_datasets() -> str:
    """One page of the list."""
    with runtime().db.read() as session:
        page = queries.list_page(session, cursor=wanted("cursor"), limit=PAGE_SIZE)
    return render_template("dashboard/datasets.html", page=page)


@blueprint.get("/datasets/<key>", endpoint="dataset")
def show_dataset(key: str) -> str:
    """One data set and the newest evaluations on it."""
    with runtime().db.read() as session:
        dataset = queries.get(session, key)
        newest = evaluations.list_page(session, cursor=None, limit=10, dataset=dataset.id)
    return render_template("dashboard/dataset.html", dataset=dataset, page=newest)


@blueprint.get("/datasets/new", endpoint="new_dataset")
def new_dataset() -> str:
    """The empty registration form."""
    return _form(DatasetForm(MultiDict(request.args)))


@blueprint.post("/datasets/new")
def register_dataset() -> ResponseReturnValue:
    """Register a folder; a worker reads it."""
    form = DatasetForm(request.form)
    body = form.request()
    key = body and attempt(form, lambda: service.request_registration(runtime().db, runtime().settings, body))
    if not key:
        return _form(form), 422
    flash("Registered. A worker now reads every image and fingerprints the set.", "good")
    return redirect(url_for("dashboard.dataset", key=key), 303)


def _form(form: DatasetForm) -> str:
    return render_template("dashboard/dataset_form.html", form=form, roots=runtime().settings.data_roots)
