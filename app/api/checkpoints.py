"""/checkpoints."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import PREFIX, accepted, answer, blueprint, declares, described, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader, MatchHeader, expected_versions, versioned
from app.api.schemas import KeyPath, PageQuery, SubmitHeader, Text
from app.db.queries import checkpoints as queries
from app.errors import (
    IdempotencyConflictError,
    InUseError,
    NameTakenError,
    NotFoundError,
    NotReadyError,
    PathForbiddenError,
    PreconditionFailedError,
)
from app.representations.base import Page
from app.representations.catalogue import CheckpointDocument, LayerDocument
from app.representations.predictions import PredictionsRequest
from app.representations.requests import CheckpointChange, CheckpointRequest
from app.services import checkpoints as service
from app.services import imports

resource = blueprint("checkpoints", "Weights with their architecture, preprocessing and training scale.")

SHOWN = described(resource, CheckpointDocument, "ETag")
ACCEPTED = described(resource, CheckpointDocument, "Location", "Retry-After")


class CheckpointQuery(PageQuery):
    """Which checkpoints."""

    search: Text | None = Field(default=None, description="part of the name, architecture, tags or notes")


@resource.get("/checkpoints", responses=declares({200: Page[CheckpointDocument]}))
def list_checkpoints(query: CheckpointQuery) -> Response:
    """List checkpoints."""
    with runtime().db.read() as session:
        return answer(queries.list_page(session, cursor=query.cursor, limit=query.limit, search=query.search))


@resource.post(
    "/checkpoints",
    responses=declares({202: ACCEPTED}, NameTakenError, IdempotencyConflictError, PathForbiddenError, unsafe=True),
)
def register_checkpoint(header: SubmitHeader, body: CheckpointRequest) -> Response:
    """Register a weights file; a worker reads it."""
    key = service.request_registration(runtime().db, runtime().settings, body, idempotency_key=header.idempotency_key)
    with runtime().db.read() as session:
        return accepted(queries.get(session, key), f"{PREFIX}/checkpoints/{key}")


@resource.post(
    "/predictions",
    responses=declares(
        {202: ACCEPTED},
        NameTakenError,
        IdempotencyConflictError,
        PathForbiddenError,
        NotFoundError,
        NotReadyError,
        unsafe=True,
    ),
)
def import_predictions(header: SubmitHeader, body: PredictionsRequest) -> Response:
    """Register a file of predictions as a checkpoint without a network; a worker reads it."""
    key = imports.request_import(runtime().db, runtime().settings, body, idempotency_key=header.idempotency_key)
    with runtime().db.read() as session:
        return accepted(queries.get(session, key), f"{PREFIX}/checkpoints/{key}")


@resource.get("/checkpoints/<key>", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_checkpoint(path: KeyPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Show one checkpoint."""
    with runtime().db.read() as session:
        return versioned(queries.get(session, path.key))


@resource.get("/checkpoints/<key>/layers", responses=declares({200: Page[LayerDocument]}, NotFoundError, NotReadyError))
def list_layers(path: KeyPath) -> Response:
    """Show a checkpoint's layer table."""
    with runtime().db.read() as session:
        return answer(Page[LayerDocument](items=queries.layers(session, path.key)))


@resource.patch(
    "/checkpoints/<key>",
    responses=declares({200: SHOWN}, NotFoundError, NameTakenError, PreconditionFailedError, unsafe=True),
)
def change_checkpoint(path: KeyPath, header: MatchHeader, body: CheckpointChange) -> Response:  # noqa: ARG001 - as above
    """Change a checkpoint's name, notes or tags; with If-Match only the version that it names."""
    expected = expected_versions(required=False)
    return versioned(service.change(runtime().db, path.key, body, expected))


@resource.delete("/checkpoints/<key>", responses=declares({204: None}, NotFoundError, InUseError, unsafe=True))
def delete_checkpoint(path: KeyPath) -> Response:
    """Delete a checkpoint that no evaluation uses."""
    service.delete(runtime().db, path.key)
    return Response(status=204)
