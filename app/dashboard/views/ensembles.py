"""Saved ensembles: the list, one with where it was evaluated; evaluated anew, renamed, forgotten."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.dashboard import commands, protocols
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.ensemble_forms import METRIC_NAMES, EnsembleForm, EvaluateForm, shares
from app.dashboard.forms import attempt
from app.dashboard.paging import PAGE_SIZE, wanted
from app.db.queries import checkpoints, datasets, evaluations
from app.db.queries import ensembles as queries
from app.representations.catalogue import CheckpointDocument
from app.representations.ensembles import EnsembleDocument
from app.representations.requests import EvaluationRequest
from app.services import ensembles as service
from app.services import evaluations as evaluation_service

#: Newest evaluations of an ensemble that its page shows, and data sets that it offers.
_EVALUATIONS_SHOWN, _DATASETS_OFFERED = 20, 200


@blueprint.get("/ensembles", endpoint="ensembles")
def list_ensembles() -> str:
    """One page of the list."""
    with runtime().db.read() as session:
        page = queries.list_page(session, cursor=wanted("cursor"), limit=PAGE_SIZE, search=wanted("search"))
    return render_template("dashboard/ensembles.html", page=page, shares=shares)


@blueprint.get("/ensembles/<key>", endpoint="ensemble")
def show_ensemble(key: str) -> str:
    """One ensemble, what chose it, and how it did."""
    return _shown(key, EvaluateForm(MultiDict(request.args)), None)


@blueprint.post("/ensembles/<key>/evaluate", endpoint="evaluate_ensemble")
def evaluate(key: str) -> ResponseReturnValue:
    """Evaluate it on a data set; posteriors that are known are used."""
    form = EvaluateForm(request.form)
    body = form.request(key)
    found = body and attempt(form, lambda: evaluation_service.submit(runtime().db, body).id)
    if not found:
        return _shown(key, form, None), 422
    return redirect(url_for("dashboard.evaluation", evaluation_id=found), 303)


@blueprint.post("/ensembles/<key>", endpoint="change_ensemble")
def change(key: str) -> ResponseReturnValue:
    """Change what people write about it."""
    form = EnsembleForm(request.form)
    body = form.request()
    found = body and attempt(form, lambda: service.change(runtime().db, key, body).id)
    if not found:
        return _shown(key, EvaluateForm(MultiDict()), form), 422
    flash("Changed. What it computes is as it was.", "good")
    return redirect(url_for("dashboard.ensemble", key=found), 303)


@blueprint.post("/ensembles/<key>/delete", endpoint="delete_ensemble")
def delete(key: str) -> ResponseReturnValue:
    """Forget it; evaluations of it stay."""
    service.delete(runtime().db, key)
    flash("Forgotten. Evaluations of it stay.", "good")
    return redirect(url_for("dashboard.ensembles"), 303)


def _shown(key: str, evaluating: EvaluateForm, editing: EnsembleForm | None) -> str:
    with runtime().db.read() as session:
        ensemble = queries.get(session, key)
        known = _checkpoints(session, ensemble)
        page = evaluations.list_page(session, cursor=None, limit=_EVALUATIONS_SHOWN, ensemble=ensemble.id)
        fitting = [
            one
            for one in datasets.list_page(session, cursor=None, limit=_DATASETS_OFFERED).items
            if one.state == "ready" and one.classes in {row.classes for row in known.values()}
        ]
    asked = EvaluationRequest(dataset=evaluating["dataset"] or "DATASET", ensemble=ensemble.name)
    return render_template(
        "dashboard/ensemble.html",
        ensemble=ensemble,
        checkpoints=known,
        shares=shares(ensemble),
        metric_names=METRIC_NAMES,
        protocol=protocols.describe([member.protocol for member in ensemble.members]),
        page=page,
        datasets=fitting,
        form=evaluating,
        editing=editing or EnsembleForm(MultiDict({"name": ensemble.name, "notes": ensemble.notes})),
        opened=editing is not None,
        cli=commands.cli_command(asked),
        curl=commands.curl_command(asked, request.url_root.rstrip("/")),
    )


def _checkpoints(session: Session, ensemble: EnsembleDocument) -> dict[str, CheckpointDocument]:
    return {one.checkpoint: checkpoints.get(session, one.checkpoint) for one in ensemble.members}
