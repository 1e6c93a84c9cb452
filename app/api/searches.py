"""/evaluations/{id}/searches."""

from __future__ import annotations

from flask import Response

from app.api.blueprints import answer, blueprint, declares, runtime
from app.api.schemas import IdPath
from app.errors import (
    ArtifactDamagedError,
    InvalidRequestError,
    NotFoundError,
    OutcomesMissingError,
    SearchTooLargeError,
    StateConflictError,
)
from app.representations.ensembles import SearchRequest
from app.representations.searches import SearchDocument
from app.services.searching import searches as service

resource = blueprint("searches", "Ensembles chosen among the posteriors of an evaluation.")

#: What any search may end in.
REFUSALS = (
    InvalidRequestError,
    NotFoundError,
    StateConflictError,
    OutcomesMissingError,
    SearchTooLargeError,
    ArtifactDamagedError,
)


@resource.post("/evaluations/<id>/searches", responses=declares({200: SearchDocument}, *REFUSALS, unsafe=True))
def search_ensemble(path: IdPath, body: SearchRequest) -> Response:
    """Search an ensemble; nothing is stored, and the same question has the same answer."""
    return answer(service.run(runtime().db, runtime().artifacts, path.id, body))
