"""/evaluations."""

from __future__ import annotations

from typing import Literal

from flask import Response
from pydantic import Field

from app.api.blueprints import PREFIX, accepted, answer, blueprint, conditional, declares, described, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader
from app.api.schemas import IdPath, PageQuery, Query, SubmitHeader, Text
from app.db.models import EvaluationStatus
from app.db.queries import evaluations as queries
from app.db.queries import paper as paper_queries
from app.db.queries import parts as parts_queries
from app.errors import IdempotencyConflictError, NotFoundError, StateConflictError
from app.representations.base import Page
from app.representations.evaluations import CancelledDocument, EvaluationDocument, EvaluationSummary, ScoresDocument
from app.representations.paper import PaperDocument
from app.representations.paper import to_csv as paper_to_csv
from app.representations.parts import PartDocument
from app.representations.requests import CancelRequest, EmptyRequest, EvaluationRequest
from app.representations.tabular import score_table, to_csv
from app.services import evaluations as service

resource = blueprint("evaluations", "Requests to evaluate checkpoints on a data set, and their scores.")

SHOWN = described(resource, EvaluationDocument, "ETag")
ACCEPTED = described(resource, EvaluationDocument, "Location", "Retry-After")
SCORES = described(resource, ScoresDocument, media={"text/csv": {"type": "string"}})
PAPER = described(resource, PaperDocument, media={"text/csv": {"type": "string"}})


class EvaluationQuery(PageQuery):
    """Which evaluations."""

    status: EvaluationStatus | None = None
    dataset: Text | None = Field(default=None, description="id or name")
    checkpoint: Text | None = Field(default=None, description="id or name of a member")
    search: Text | None = Field(
        default=None, description="part of the name of a data set, checkpoint or protocol, or the beginning of an id"
    )


class ScoresQuery(Query):
    """In which form."""

    format: Literal["json", "csv"] = "json"


class PaperQuery(Query):
    """Whose rows else."""

    others: Text | None = Field(default=None, alias="with", description="ids of further evaluations, comma-separated")
    table: int | None = Field(default=None, ge=3, le=7, description="one table alone")
    format: Literal["json", "csv"] = "json"


class PartsQuery(PageQuery):
    """Which parts."""

    state: Literal["open", "pending", "leased", "failed", "done"] | None = Field(
        default=None, description="`open`: all that are not done"
    )


@resource.get("/evaluations", responses=declares({200: Page[EvaluationSummary]}))
def list_evaluations(query: EvaluationQuery) -> Response:
    """List evaluations, newest first."""
    with runtime().db.read() as session:
        return answer(
            queries.list_page(
                session,
                cursor=query.cursor,
                limit=query.limit,
                status=query.status,
                dataset=query.dataset,
                checkpoint=query.checkpoint,
                search=query.search,
            )
        )


@resource.post(
    "/evaluations",
    responses=declares({202: ACCEPTED}, IdempotencyConflictError, unsafe=True),
)
def submit_evaluation(header: SubmitHeader, body: EvaluationRequest) -> Response:
    """Submit an evaluation."""
    submission = service.submit(runtime().db, body, idempotency_key=header.idempotency_key)
    return _accepted(submission.id)


@resource.get("/evaluations/<id>", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_evaluation(path: IdPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Show one evaluation and how far it is."""
    with runtime().db.read() as session:
        version, document = queries.version(session, path.id)
        return conditional(version, lambda: answer(document()))


@resource.get("/evaluations/<id>/scores", responses=declares({200: SCORES}, NotFoundError))
def get_scores(path: IdPath, query: ScoresQuery) -> Response:
    """Show every score of one evaluation."""
    with runtime().db.read() as session:
        scores = queries.scores(session, path.id)
    if query.format == "csv":
        return _csv(to_csv(score_table(scores.items)), f"scores-{path.id}.csv")
    return answer(scores)


@resource.get("/evaluations/<id>/parts", responses=declares({200: Page[PartDocument]}, NotFoundError))
def list_parts(path: IdPath, query: PartsQuery) -> Response:
    """List the parts that workers take one at a time: who has which, since when, and why the others wait."""
    with runtime().db.read() as session:
        return answer(
            parts_queries.list_page(session, path.id, cursor=query.cursor, limit=query.limit, state=query.state)
        )


@resource.get("/evaluations/<id>/paper", responses=declares({200: PAPER}, NotFoundError))
def get_paper(path: IdPath, query: PaperQuery) -> Response:
    """Show tables 3-7 of the VGG paper with the rows of this evaluation, and of others, beside the printed ones."""
    others = [other for other in (query.others or "").split(",") if other]
    with runtime().db.read() as session:
        document = paper_queries.get(session, [path.id, *others], table=query.table)
    if query.format == "csv":
        return _csv(paper_to_csv(document), f"paper-{path.id}.csv")
    return answer(document)


@resource.post("/evaluations/cancel", responses=declares({200: CancelledDocument}, unsafe=True))
def cancel_evaluations(body: CancelRequest) -> Response:
    """Cancel many evaluations; what was predicted is kept."""
    return answer(CancelledDocument(cancelled=service.cancel_many(runtime().db, body.ids and set(body.ids))))


@resource.post(
    "/evaluations/<id>/cancel",
    responses=declares({202: ACCEPTED}, NotFoundError, StateConflictError, unsafe=True),
)
def cancel_evaluation(path: IdPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Cancel an evaluation; what was predicted is kept."""
    service.cancel(runtime().db, path.id)
    return _accepted(path.id)


@resource.post(
    "/evaluations/<id>/retry",
    responses=declares({202: ACCEPTED}, NotFoundError, StateConflictError, unsafe=True),
)
def retry_evaluation(path: IdPath, body: EmptyRequest) -> Response:  # noqa: ARG001 - documents the body
    """Take up a failed or cancelled evaluation again; what was predicted is kept."""
    service.retry(runtime().db, path.id)
    return _accepted(path.id)


def _csv(text: str, name: str) -> Response:
    return Response(text, mimetype="text/csv", headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _accepted(evaluation_id: str) -> Response:
    with runtime().db.read() as session:
        return accepted(queries.get(session, evaluation_id), f"{PREFIX}/evaluations/{evaluation_id}")
