"""ETags of single resources, and edits that name the version they were made on.

A resource that people edit answers its GET with `versioned(document)`. Its PATCH or DELETE takes a `MatchHeader`,
declares `PreconditionFailedError` (and `PreconditionRequiredError` where If-Match must be sent) as causes, and hands
`expected_versions(required=...)` to the service, which calls `app.services.versions.check` in the transaction that
edits, after the row is locked:

    @resource.patch("/things/<key>", responses=declares({200: THING}, NotFoundError, *EDITED, unsafe=True))
    def change_thing(path: KeyPath, header: MatchHeader, body: ThingChange) -> Response:
        service.change(runtime().db, path.key, body, expected=expected_versions(required=True))

Where the version is not the hash of the document, such as a counter of edits, `versioned` takes it.
"""

from __future__ import annotations

from http import HTTPStatus

from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from app.api.blueprints import answer
from app.api.errors import PreconditionRequiredError
from app.api.schemas import Parameters
from app.errors import PreconditionFailedError
from app.representations.base import version_of

#: The answer to a conditional GET of what did not change.
NOT_MODIFIED = {"description": "The version named by If-None-Match is the present one."}

#: Errors of an edit that must name its version.
EDITED = (PreconditionRequiredError, PreconditionFailedError)


class ConditionHeader(Parameters):
    """Headers of a conditional GET."""

    model_config = ConfigDict(extra="ignore")

    if_none_match: str | None = Field(default=None, alias="If-None-Match", description="an ETag that was seen")


class MatchHeader(Parameters):
    """Headers of an edit."""

    model_config = ConfigDict(extra="ignore")

    if_match: str | None = Field(
        default=None, alias="If-Match", description="the ETag of the version that is edited, or * for whichever it is"
    )


def versioned(document: BaseModel, version: str | None = None, status: int = HTTPStatus.OK) -> Response:
    """A document with its ETag, or an empty 304 where a GET says that the client has this version.

    Args:
        document: the answer.
        version: the ETag's value; by default a hash of the document.
        status: of the answer.
    """
    tag = version_of(document) if version is None else version
    known = request.method in ("GET", "HEAD") and request.if_none_match.contains_weak(tag)
    response = Response(status=HTTPStatus.NOT_MODIFIED) if known else answer(document, status)
    response.set_etag(tag)
    return response


def expected_versions(*, required: bool) -> frozenset[str] | None:
    """The versions that If-Match accepts; None where any will do. A weak ETag never matches (RFC 9110, 13.1.1).

    Raises:
        PreconditionRequiredError: there is no If-Match, and it is required.
    """
    if "If-Match" not in request.headers:
        if required:
            raise PreconditionRequiredError
        return None
    return None if request.if_match.star_tag else frozenset(request.if_match.as_set())
