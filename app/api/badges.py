"""/badges."""

from __future__ import annotations

import hashlib
from typing import Annotated, cast

from flask import Response, request
from pydantic import Field

from app.api.blueprints import blueprint, declares, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader
from app.api.schemas import Query
from app.db.queries import badges as queries
from app.errors import NotFoundError
from app.representations.badges import BadgeMetric, to_svg

resource = blueprint("badges", "One number as a small picture, for a README.")

#: Seconds for which a badge may be shown without asking again.
MAX_AGE = 60

SHOWN = {
    "description": "The badge: a number, or `pending`, `failed`, `cancelled`.",
    "content": {"image/svg+xml": {"schema": {"type": "string"}}},
    "headers": {"ETag": {"description": "The version, for If-None-Match.", "schema": {"type": "string"}}},
}


class ReferencePath(Query):
    """A path that names an evaluation, one of its members, or a saved ensemble."""

    reference: Annotated[
        str,
        Field(
            max_length=300,
            pattern=r"^[^\x00-\x1f\x7f]*$",
            description="ID or ID:NAME of an evaluation, or id or name of an ensemble",
        ),
    ]


class BadgeQuery(Query):
    """Which number."""

    metric: BadgeMetric = "top1_error"


@resource.get("/badges/<reference>.svg", responses=declares({200: SHOWN, 304: NOT_MODIFIED}, NotFoundError))
def get_badge(path: ReferencePath, query: BadgeQuery, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents
    """Draw the badge of an evaluation (its ensemble or only member), of one member, or of a saved ensemble."""
    with runtime().db.read() as session:
        svg = to_svg(queries.get(session, path.reference, query.metric))
    response = Response(svg, mimetype="image/svg+xml")
    response.set_etag(hashlib.sha256(svg.encode()).hexdigest()[:32])
    response.headers["Cache-Control"] = f"private, max-age={MAX_AGE}"
    return cast("Response", response.make_conditional(request))
