"""/gates and /baselines."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response
from pydantic import Field

from app.api.blueprints import PREFIX, answer, blueprint, declares, described, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader, versioned
from app.api.schemas import IdPath, PageQuery, Query, SubmitHeader, Text
from app.db.queries import gates as queries
from app.errors import (
    ArtifactDamagedError,
    IdempotencyConflictError,
    NotFoundError,
    OutcomesMissingError,
    StateConflictError,
)
from app.representations.base import Page
from app.representations.gates import (
    BaselineDocument,
    BaselineRequest,
    GateDocument,
    GateRequest,
    to_junit,
    to_markdown,
)
from app.services.comparing import gates as service

resource = blueprint("gates", "Verdicts on candidates: pass, fail or inconclusive.")

SHOWN = described(resource, GateDocument, "ETag")
CREATED = described(resource, GateDocument, "Location")
JUNIT = {"description": "JUnit XML.", "content": {"application/xml": {"schema": {"type": "string"}}}}
MARKDOWN = {"description": "For a pull request.", "content": {"text/markdown": {"schema": {"type": "string"}}}}
ASKED = (NotFoundError, StateConflictError, OutcomesMissingError)


class GateQuery(PageQuery):
    """Which verdicts."""

    candidate: Text | None = Field(default=None, description="id of the candidate evaluation")
    verdict: Literal["pass", "fail", "inconclusive"] | None = None


class NamePath(Query):
    """A path that names a baseline."""

    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/]+$")]


@resource.post(
    "/gates",
    responses=declares({201: CREATED}, IdempotencyConflictError, *ASKED, ArtifactDamagedError, unsafe=True),
)
def judge_candidate(header: SubmitHeader, body: GateRequest) -> Response:
    """Judge a candidate against a baseline, and keep the verdict."""
    gate_id = service.judge(runtime().db, runtime().artifacts, body, idempotency_key=header.idempotency_key)
    with runtime().db.read() as session:
        return answer(queries.get(session, gate_id), 201, {"Location": f"{PREFIX}/gates/{gate_id}"})


@resource.get("/gates", responses=declares({200: Page[GateDocument]}))
def list_gates(query: GateQuery) -> Response:
    """List verdicts, newest first."""
    with runtime().db.read() as session:
        return answer(
            queries.list_page(
                session, cursor=query.cursor, limit=query.limit, candidate=query.candidate, verdict=query.verdict
            )
        )


@resource.get("/gates/<id>", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_gate(path: IdPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Show one verdict."""
    with runtime().db.read() as session:
        return versioned(queries.get(session, path.id))


@resource.get("/gates/<id>/junit", responses=declares({200: JUNIT}, NotFoundError))
def get_junit(path: IdPath) -> Response:
    """Show one verdict as JUnit XML."""
    with runtime().db.read() as session:
        return Response(to_junit([queries.get(session, path.id)]), mimetype="application/xml")


@resource.get("/gates/<id>/markdown", responses=declares({200: MARKDOWN}, NotFoundError))
def get_markdown(path: IdPath) -> Response:
    """Show one verdict as Markdown."""
    with runtime().db.read() as session:
        return Response(to_markdown([queries.get(session, path.id)]), mimetype="text/markdown")


@resource.get("/baselines", responses=declares({200: Page[BaselineDocument]}))
def list_baselines() -> Response:
    """List the baselines."""
    with runtime().db.read() as session:
        return answer(Page[BaselineDocument](items=queries.baselines(session)))


@resource.put("/baselines/<name>", responses=declares({204: None}, *ASKED, unsafe=True))
def promote_baseline(path: NamePath, body: BaselineRequest) -> Response:
    """Let a name stand for an evaluation or member from now on."""
    service.promote(runtime().db, path.name, body.reference, body.note)
    return Response(status=204)


@resource.delete("/baselines/<name>", responses=declares({204: None}, NotFoundError, unsafe=True))
def forget_baseline(path: NamePath) -> Response:
    """Remove a baseline's name."""
    service.forget(runtime().db, path.name)
    return Response(status=204)
