"""/ensembles."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import PREFIX, answer, blueprint, declares, described, runtime
from app.api.preconditions import EDITED, NOT_MODIFIED, ConditionHeader, MatchHeader, expected_versions, versioned
from app.api.schemas import KeyPath, PageQuery, Text
from app.api.searches import REFUSALS
from app.db.queries import ensembles as queries
from app.errors import NameTakenError, NotFoundError, PreconditionFailedError
from app.representations.base import Page
from app.representations.ensembles import EnsembleChange, EnsembleDocument, EnsembleRequest
from app.services import ensembles as service
from app.services.searching import searches

resource = blueprint("ensembles", "Saved fusions: members with their views and weights, and what chose them.")

SHOWN = described(resource, EnsembleDocument, "ETag")
CREATED = described(resource, EnsembleDocument, "Location")


class EnsembleQuery(PageQuery):
    """Which ensembles."""

    search: Text | None = Field(default=None, description="part of the name or notes")


@resource.get("/ensembles", responses=declares({200: Page[EnsembleDocument]}))
def list_ensembles(query: EnsembleQuery) -> Response:
    """List saved ensembles, newest first."""
    with runtime().db.read() as session:
        return answer(queries.list_page(session, cursor=query.cursor, limit=query.limit, search=query.search))


@resource.post(
    "/ensembles",
    responses=declares({201: CREATED}, *REFUSALS, NameTakenError, unsafe=True),
)
def save_ensemble(body: EnsembleRequest) -> Response:
    """Save an ensemble, or the one that a search chooses."""
    key = searches.save(runtime().db, runtime().artifacts, body)
    with runtime().db.read() as session:
        return answer(queries.get(session, key), 201, {"Location": f"{PREFIX}/ensembles/{key}"})


@resource.get("/ensembles/<key>", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_ensemble(path: KeyPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Show one ensemble."""
    with runtime().db.read() as session:
        return versioned(queries.get(session, path.key))


@resource.patch(
    "/ensembles/<key>", responses=declares({200: SHOWN}, NotFoundError, NameTakenError, *EDITED, unsafe=True)
)
def change_ensemble(path: KeyPath, header: MatchHeader, body: EnsembleChange) -> Response:  # noqa: ARG001 - as above
    """Change the name or notes of the version that If-Match names."""
    return versioned(service.change(runtime().db, path.key, body, expected_versions(required=True)))


@resource.delete(
    "/ensembles/<key>", responses=declares({204: None}, NotFoundError, PreconditionFailedError, unsafe=True)
)
def delete_ensemble(path: KeyPath, header: MatchHeader) -> Response:  # noqa: ARG001 - as above
    """Forget an ensemble; evaluations of it stay."""
    service.delete(runtime().db, path.key, expected_versions(required=False))
    return Response(status=204)
