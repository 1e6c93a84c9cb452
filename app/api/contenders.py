"""/evaluations/{id}/contenders: what browsers fuse."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Response, request
from pydantic import Field

from app.api.blueprints import HEADERS, answer, blueprint, declares, runtime
from app.api.preconditions import NOT_MODIFIED, ConditionHeader
from app.api.schemas import IdPath, Query
from app.api.searches import REFUSALS
from app.errors import StorageFullError
from app.representations.contenders import ContenderUnitsDocument
from app.representations.ensembles import OverName
from app.services.searching import contender_tables as service

resource = blueprint("contenders", "The exact table from which the errors of any fusion follow.")

TABLE: dict[str, Any] = {
    "description": "A block that begins with `SVCT`: little-endian typed arrays, laid out as docs/ensembles.md says. "
    "Its members are the prediction sets of the evaluation.",
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {"ETag": {"description": HEADERS["ETag"], "schema": {"type": "string"}}},
}


class UnitsQuery(Query):
    """Of which units."""

    over: OverName = Field(default="checkpoints", description="what stands or falls together")


@resource.get(
    "/evaluations/<id>/contenders", responses=declares({200: TABLE, 304: NOT_MODIFIED}, *REFUSALS, StorageFullError)
)
def get_contenders(path: IdPath, header: ConditionHeader) -> Response:  # noqa: ARG001 - documents the header
    """Send the exact pruned table of the evaluation's prediction sets, from which the errors of any fusion follow."""
    found = service.find(runtime().db, runtime().artifacts, path.id)
    version = service.version(found)
    if request.if_none_match.contains_weak(version):
        response = Response(status=HTTPStatus.NOT_MODIFIED)
    else:
        response = Response(service.table(runtime().artifacts, found).data, mimetype="application/octet-stream")
    response.set_etag(version)
    return response


@resource.get("/evaluations/<id>/contenders/units", responses=declares({200: ContenderUnitsDocument}, *REFUSALS))
def get_contender_units(path: IdPath, query: UnitsQuery) -> Response:
    """Show which units the table can be asked by, each in whole weights of its prediction sets."""
    found = service.find(runtime().db, runtime().artifacts, path.id, query.over)
    return answer(service.describe(found, query.over))
