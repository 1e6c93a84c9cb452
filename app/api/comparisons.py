"""/compare."""

from __future__ import annotations

from flask import Response
from pydantic import Field

from app.api.blueprints import answer, blueprint, declares, runtime
from app.api.schemas import Query, Text
from app.errors import (
    ArtifactDamagedError,
    InvalidRequestError,
    NotFoundError,
    OutcomesMissingError,
    StateConflictError,
)
from app.representations.comparisons import ComparisonDocument
from app.services import comparisons as service

resource = blueprint("comparisons", "Which of several is better on the images they share, and whether that is real.")


class ComparisonQuery(Query):
    """The sides: the id of an evaluation, which stands for its ensemble or its only member, or ID:NAME, one member."""

    base: Text = Field(description="ID or ID:NAME")
    candidate: list[Text] = Field(
        min_length=1, max_length=service.MAX_CANDIDATES, description="ID or ID:NAME; may repeat"
    )


@resource.get(
    "/compare",
    responses=declares(
        {200: ComparisonDocument},
        InvalidRequestError,
        NotFoundError,
        StateConflictError,
        OutcomesMissingError,
        ArtifactDamagedError,
    ),
)
def compare(query: ComparisonQuery) -> Response:
    """Compare candidates with a base, paired image by image."""
    return answer(service.compare(runtime().db, runtime().artifacts, query.base, query.candidate))
