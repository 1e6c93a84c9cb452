"""Searching an ensemble on a page: the form, what it found, the way into the builder, saving."""

from __future__ import annotations

from flask import abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard import commands, searching
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.cost_plot import CostPlot
from app.dashboard.ensemble_forms import METRIC_NAMES
from app.dashboard.paging import wanted
from app.dashboard.search_form import CHOICES, SearchForm
from app.db.queries import evaluations
from app.errors import InvalidRequestError, NameTakenError, SearchTooLargeError
from app.representations.ensembles import SearchRequest
from app.representations.searches import SearchDocument
from app.services.searching import search_units
from app.services.searching import searches as service


@blueprint.get("/ensembles/search", endpoint="search_ensemble")
def search_ensemble() -> ResponseReturnValue:
    """The form as the address fills it, and what it finds once it was sent."""
    evaluation_id = wanted("evaluation")
    if evaluation_id is None:
        return redirect(url_for("dashboard.evaluations", status="succeeded"), 303)
    form = SearchForm(MultiDict(request.args))
    asked = form.request() if form.sent else None
    if asked is None:
        return _page(evaluation_id, form), 422 if form.problems else 200
    try:
        found = service.run(runtime().db, runtime().artifacts, evaluation_id, asked)
    except InvalidRequestError as error:
        form.refuse(error)
        return _page(evaluation_id, form), 422
    except SearchTooLargeError as error:
        return _page(evaluation_id, form, refusal=error, asked=asked), 422
    return _page(evaluation_id, form, found=found, asked=asked)


@blueprint.post("/ensembles/search")
def save_found() -> ResponseReturnValue:
    """Search again, and save what is chosen: the same question has the same answer."""
    evaluation_id = request.form.get("evaluation", "").strip()
    if not evaluation_id:
        abort(400, "evaluation: whose posteriors were searched is needed")
    form = SearchForm(request.form)
    body = form.saving(evaluation_id)
    if body is None:
        return _page(evaluation_id, form), 422
    try:
        key = service.save(runtime().db, runtime().artifacts, body)
    except (InvalidRequestError, NameTakenError) as error:
        form.refuse(error)
        return _page(evaluation_id, form), 422
    return redirect(url_for("dashboard.ensemble", key=key), 303)


def _page(
    evaluation_id: str,
    form: SearchForm,
    *,
    found: SearchDocument | None = None,
    refusal: SearchTooLargeError | None = None,
    asked: SearchRequest | None = None,
) -> str:
    with runtime().db.read() as session:
        evaluation = evaluations.get(session, evaluation_id)
        units = [] if found is None else _units(evaluation_id, found.over)
    address = f"/api/v1/evaluations/{evaluation_id}/searches"
    return render_template(
        "dashboard/search.html",
        evaluation=evaluation,
        form=form,
        choices=CHOICES,
        found=found,
        refusal=refusal,
        metric_names=METRIC_NAMES,
        shown=lambda fusion: searching.shown(found.over if found else "", fusion, units),
        name=lambda member: searching.member_name(member, found.over if found else ""),
        plot=found and CostPlot.of(found),
        cli=asked and searching.cli_command(evaluation_id, asked),
        curl=asked and commands.curl_command(asked, request.url_root.rstrip("/"), address),
    )


def _units(evaluation_id: str, over: str) -> list[searching.UnitName]:
    with runtime().db.read() as session:
        found = search_units.read(session, runtime().artifacts, evaluation_id, over)
    return [(unit.member.checkpoint.name, tuple(unit.scales), unit.mode) for unit in found.units]
