"""/compare."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response
from pydantic import Field

from app.api.blueprints import answer, blueprint, declares, described, runtime
from app.api.schemas import Query
from app.errors import (
    ArtifactDamagedError,
    InvalidRequestError,
    NotFoundError,
    OutcomesMissingError,
    StateConflictError,
)
from app.representations.comparisons import (
    COMPARED_METRICS,
    NUMBER_COLUMNS,
    ComparedMetric,
    ComparisonDocument,
    comparison_columns,
    comparison_rows,
    readable_rows,
)
from app.representations.tabular import csv_table, markdown_table
from app.services.comparing import comparisons as service

resource = blueprint("comparisons", "Which of several is better on the images they share, and whether that is real.")

#: An id, a colon, a name.
Reference = Annotated[str, Field(max_length=300, pattern=r"^[^\x00-\x1f\x7f]*$")]

COMPARED = described(
    resource, ComparisonDocument, media={"text/csv": {"type": "string"}, "text/markdown": {"type": "string"}}
)


class ComparisonQuery(Query):
    """The sides: the id of an evaluation, which stands for its ensemble or its only member, or ID:NAME, one member."""

    base: Reference = Field(description="ID or ID:NAME")
    candidate: list[Reference] = Field(
        min_length=1, max_length=service.MAX_CANDIDATES, description="ID or ID:NAME; may repeat"
    )
    metric: list[ComparedMetric] = Field(
        default=["top1_error", "top5_error"],
        min_length=1,
        max_length=len(COMPARED_METRICS),
        description="may repeat; nll, brier and ece are resampled, which takes longer",
    )
    format: Literal["json", "csv", "markdown"] = "json"


@resource.get(
    "/compare",
    responses=declares(
        {200: COMPARED},
        InvalidRequestError,
        NotFoundError,
        StateConflictError,
        OutcomesMissingError,
        ArtifactDamagedError,
    ),
)
def compare(query: ComparisonQuery) -> Response:
    """Compare candidates with a base, paired image by image."""
    document = service.compare(runtime().db, runtime().artifacts, query.base, query.candidate, query.metric)
    if query.format == "csv":
        return _text(csv_table(comparison_rows(document), comparison_columns()), "text/csv", "comparison.csv")
    if query.format == "markdown":
        rows = readable_rows(document)
        return _text(markdown_table(rows, list(rows[0]), NUMBER_COLUMNS), "text/markdown", "comparison.md")
    return answer(document)


def _text(text: str, media_type: str, name: str) -> Response:
    return Response(text, mimetype=media_type, headers={"Content-Disposition": f'attachment; filename="{name}"'})
