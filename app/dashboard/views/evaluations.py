"""Evaluations: the list, and one from its queue to its result."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from app.dashboard import gating, protocols, results
from app.dashboard.blueprint import blueprint, conditional, runtime
from app.dashboard.paging import PAGE_SIZE, wanted
from app.db.models import LIVE_STATUSES, EvaluationStatus
from app.db.queries import datasets, ensembles, gates, parts
from app.db.queries import evaluations as queries
from app.errors import ArtifactDamagedError, OutcomesMissingError
from app.representations.answers import AgreementDocument
from app.representations.base import Page
from app.representations.evaluations import EvaluationDocument
from app.representations.parts import PartDocument
from app.services import evaluations as service
from app.services.answering import agreements
from app.services.answering.subjects import told_apart

_PARTS_SHOWN = 20
_GATES_SHOWN = 5


@blueprint.get("/evaluations", endpoint="evaluations")
def list_evaluations() -> str:
    """One page of the list, filtered."""
    status = wanted("status")
    with runtime().db.read() as session:
        page = queries.list_page(
            session,
            cursor=wanted("cursor"),
            limit=PAGE_SIZE,
            status=status if status in list(EvaluationStatus) else None,
            dataset=wanted("dataset"),
            search=wanted("search"),
        )
        known = datasets.list_page(session, cursor=None, limit=200).items
    return render_template(
        "dashboard/evaluations.html",
        page=page,
        statuses=list(EvaluationStatus),
        live=LIVE_STATUSES,
        datasets=known,
        ticked=list(dict.fromkeys(filter(None, map(str.strip, request.args.getlist("candidate"))))),
        filtered=any(map(wanted, ("status", "dataset", "search", "cursor"))),
    )


@blueprint.get("/evaluations/<evaluation_id>", endpoint="evaluation")
def show_evaluation(evaluation_id: str) -> str:
    """Live progress while it runs, results when it has ended."""
    with runtime().db.read() as session:
        evaluation = queries.get(session, evaluation_id)
        open_parts = _open_parts(session, evaluation)
        scores = queries.scores(session, evaluation_id).items if evaluation.status == "succeeded" else []
        verdicts = _verdicts(session, evaluation) if scores else []
        is_saved = evaluation.ensemble is not None and ensembles.is_saved(session, evaluation.ensemble.id)
    return render_template(
        "dashboard/evaluation.html",
        evaluation=evaluation,
        live=_is_live(evaluation),
        open_parts=open_parts,
        ensemble_is_saved=is_saved,
        results=results.summarise(scores),
        agreement=_agreement(evaluation),
        gates=verdicts,
        gates_shown=_GATES_SHOWN,
        compare_members=[
            f"{evaluation_id}:{name}" for name in told_apart([m.checkpoint for m in evaluation.checkpoints])
        ],
        protocol=protocols.describe([member.protocol for member in evaluation.checkpoints]),
        provenance=protocols.trace(evaluation.provenance),
    )


@blueprint.get("/evaluations/<evaluation_id>/live")
def live_evaluation(evaluation_id: str) -> ResponseReturnValue:
    """The live part alone, for polling; once the evaluation has ended, the page is told to load again."""
    with runtime().db.read() as session:
        version, document = queries.version(session, evaluation_id)
        if request.if_none_match.contains_weak(version):
            return conditional(version, "")
        evaluation = document()
        open_parts = _open_parts(session, evaluation)
    body = render_template("dashboard/_live.html", evaluation=evaluation, open_parts=open_parts)
    response = conditional(version, body)
    if not _is_live(evaluation):
        response.headers["HX-Refresh"] = "true"
    return response


@blueprint.post("/evaluations/<evaluation_id>/cancel")
def cancel_evaluation(evaluation_id: str) -> ResponseReturnValue:
    """Stop it; what was predicted is kept."""
    service.cancel(runtime().db, evaluation_id)
    flash("Cancelled. What was predicted is kept and reused by whoever asks for it again.", "good")
    return _back(evaluation_id)


@blueprint.post("/evaluations/<evaluation_id>/retry")
def retry_evaluation(evaluation_id: str) -> ResponseReturnValue:
    """Take it up again where it stopped."""
    service.retry(runtime().db, evaluation_id)
    flash("Queued again. Finished parts are kept; only what is missing runs.", "good")
    return _back(evaluation_id)


def _agreement(evaluation: EvaluationDocument) -> AgreementDocument | None:
    """How the members differ; nothing where there is one, or where how they answered cannot be read."""
    if evaluation.status != "succeeded" or len(evaluation.checkpoints) < 2:
        return None
    try:
        return agreements.agreement(runtime().db, runtime().artifacts, evaluation.id)
    except (OutcomesMissingError, ArtifactDamagedError):
        return None


def _verdicts(session: Session, evaluation: EvaluationDocument) -> list[gating.Judged]:
    """The newest verdicts on it."""
    found = gates.list_page(session, cursor=None, limit=_GATES_SHOWN, candidate=evaluation.id).items
    references = [reference for gate in found for reference in (gate.baseline_reference, gate.candidate_reference)]
    sides = gates.sides(session, references)
    return [gating.judged(gate, sides) for gate in found]


def _back(evaluation_id: str) -> ResponseReturnValue:
    return redirect(url_for("dashboard.evaluation", evaluation_id=evaluation_id), 303)


def _open_parts(session: Session, evaluation: EvaluationDocument) -> Page[PartDocument]:
    """The parts of a live evaluation that somebody has or that somebody failed at; as many as a person would read."""
    if not _is_live(evaluation):
        return Page[PartDocument](items=[])
    return parts.list_page(session, evaluation.id, cursor=None, limit=_PARTS_SHOWN, state=parts.OPEN)


def _is_live(evaluation: EvaluationDocument) -> bool:
    return evaluation.status in LIVE_STATUSES
