"""/datasets."""

from __future__ import annotations

from flask import Response

from app.api.blueprints import PREFIX, accepted, answer, blueprint, declares, described, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader, versioned
from app.api.schemas import KeyPath, PageQuery, SubmitHeader
from app.db.queries import datasets as queries
from app.errors import (
    ArtifactDamagedError,
    IdempotencyConflictError,
    NameTakenError,
    NotFoundError,
    NotReadyError,
    PathForbiddenError,
)
from app.representations.base import Page
from app.representations.catalogue import DatasetDocument, ImageDocument
from app.representations.requests import DatasetRequest
from app.services import datasets as service
from app.services.answering import images

resource = blueprint("datasets", "Labelled images below a folder, fingerprinted.")

SHOWN = described(resource, DatasetDocument, "ETag")
ACCEPTED = described(resource, DatasetDocument, "Location", "Retry-After")


@resource.get("/datasets", responses=declares({200: Page[DatasetDocument]}))
def list_datasets(query: PageQuery) -> Response:
    """List data sets."""
    with runtime().db.read() as session:
        return answer(queries.list_page(session, cursor=query.cursor, limit=query.limit))


@resource.post(
    "/datasets",
    responses=declares({202: ACCEPTED}, NameTakenError, IdempotencyConflictError, PathForbiddenError, unsafe=True),
)
def register_dataset(header: SubmitHeader, body: DatasetRequest) -> Response:
    """Register an image folder, a manifest or ImageNet's validation set; a worker reads every image's checksum."""
    key = service.request_registration(runtime().db, runtime().settings, body, idempotency_key=header.idempotency_key)
    with runtime().db.read() as session:
        return accepted(queries.get(session, key), f"{PREFIX}/datasets/{key}")


@resource.get("/datasets/<key>", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_dataset(path: KeyPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Show one data set."""
    with runtime().db.read() as session:
        return versioned(queries.get(session, path.key))


@resource.get(
    "/datasets/<key>/images",
    responses=declares({200: Page[ImageDocument]}, NotFoundError, NotReadyError, ArtifactDamagedError),
)
def list_images(path: KeyPath, query: PageQuery) -> Response:
    """List a data set's images in canonical order."""
    page = images.list_page(runtime().db, runtime().artifacts, path.key, cursor=query.cursor, limit=query.limit)
    return answer(page)
