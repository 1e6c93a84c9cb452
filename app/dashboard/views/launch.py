"""Launching an evaluation. The form's state is its URL: a reload, a bookmark and a clone are the same thing."""

from __future__ import annotations

import secrets
from urllib.parse import urlencode

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from werkzeug.datastructures import MultiDict

from app.dashboard import commands, launch
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.forms import attempt
from app.db.queries import checkpoints, datasets, evaluations
from app.errors import InvalidRequestError
from app.representations.estimates import EstimateDocument
from app.representations.requests import EvaluationRequest
from app.services import estimates
from app.services import evaluations as service
from ensembles.protocols import PRESET_SUMMARIES

#: More than this many fit no page; the others are launched over REST or from the command line.
MAX_LISTED = 200


@blueprint.get("/evaluations/new", endpoint="launch")
def launch_page() -> str:
    """The form as the URL fills it, and what it would run."""
    return _page(launch.LaunchForm(MultiDict(request.args)), show_problems=False)


@blueprint.post("/evaluations/new")
def submit() -> ResponseReturnValue:
    """Start it, or show everything that is in the way."""
    form = launch.LaunchForm(request.form)
    body = form.request()
    found = body and attempt(form, lambda: _submit(form, body))
    if not found:
        return _page(form, show_problems=True), 422
    return redirect(url_for("dashboard.evaluation", evaluation_id=found), 303)


@blueprint.get("/evaluations/<evaluation_id>/clone", endpoint="clone")
def clone(evaluation_id: str) -> ResponseReturnValue:
    """The launch form filled as for an earlier evaluation."""
    with runtime().db.read() as session:
        evaluation = evaluations.get(session, evaluation_id)
        everything = datasets.get(session, evaluation.dataset).images
    own = [member.protocol for member in evaluation.checkpoints if member.protocol["modes"] != ["imported"]]
    if any(protocol != evaluation.protocol for protocol in own):
        flash("Protocols of single checkpoints are not copied: the form has one protocol for all of them.", "warn")
    limit = None if evaluation.images == everything else evaluation.images
    query = urlencode(list(launch.fields_of(evaluation, limit).items(multi=True)))
    return redirect(f"{url_for('dashboard.launch')}?{query}")


def _submit(form: launch.LaunchForm, body: EvaluationRequest) -> str:
    return service.submit(runtime().db, body, idempotency_key=form.submission_key(body)).id


def _page(form: launch.LaunchForm, *, show_problems: bool) -> str:
    """The form, what it would run and the commands for it.

    Args:
        form: as filled so far.
        show_problems: beside the fields too; while it is being filled, only the plan says what is missing.
    """
    with runtime().db.read() as session:
        known_datasets = [
            d for d in datasets.list_page(session, cursor=None, limit=MAX_LISTED).items if d.state == "ready"
        ]
        known_checkpoints = checkpoints.list_page(session, cursor=None, limit=MAX_LISTED)
        body = form.draft()
        estimate = body and _estimate(session, form, body)
    ready = None if form.problems else body
    return render_template(
        "dashboard/launch.html",
        form=form,
        show_problems=show_problems,
        datasets=known_datasets,
        dataset=next((d for d in known_datasets if form["dataset"] in (d.name, d.id)), None),
        checkpoints=[c for c in known_checkpoints.items if c.state == "ready"],
        more=known_checkpoints.next is not None,
        presets=PRESET_SUMMARIES,
        choices=launch.CHOICES,
        scale_rules=launch.SCALE_RULES,
        plan=estimate if ready else None,
        curl=ready
        and commands.curl_command(ready, request.host_url.rstrip("/"), with_token=runtime().settings.auth != "local"),
        cli=ready and commands.cli_command(ready),
        submission=form["submission"] or secrets.token_urlsafe(12),
    )


def _estimate(session: Session, form: launch.LaunchForm, body: EvaluationRequest) -> EstimateDocument | None:
    try:
        return estimates.estimate(session, body)
    except InvalidRequestError as error:
        form.refuse(error)
        return None
