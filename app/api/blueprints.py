"""What the resources share: where they live, what they declare, how they answer, and the runtime they work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, cast

from flask import Response, current_app, request
from flask_openapi.blueprint import APIBlueprint
from flask_openapi.models.schema import Schema
from flask_openapi.models.tag import Tag
from flask_openapi.types import ResponseDict
from pydantic import BaseModel

from app.access import rules
from app.api import errors, guards
from app.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidRequestError,
    RateLimitedError,
    UnauthenticatedError,
)
from app.runtime import Runtime

PREFIX = "/api/v1"

#: What an operation that is not open to anybody says in the document.
SECURITY: list[dict[str, list[str]]] = [{"token": []}]

#: Under this name the Flask application carries its Runtime.
EXTENSION = "softvote"

SCHEMAS = "#/components/schemas"

HEADERS = {
    "Location": "Where to follow what was started.",
    "Retry-After": "Seconds to wait before looking there.",
    "ETag": "The version, for If-None-Match and If-Match.",
}


def runtime() -> Runtime:
    """The runtime of the application that serves this request."""
    return cast("Runtime", current_app.extensions[EXTENSION])


def blueprint(name: str, description: str) -> APIBlueprint:
    """The blueprint of one resource under /api/v1; its routes have the default rule of access."""
    resource = APIBlueprint(
        name,
        __name__,
        url_prefix=PREFIX,
        abp_tags=[Tag(name=name, description=description)],
        abp_security=SECURITY,
        operation_id_callback=operation_id,
    )
    resource.before_request(guards.check)
    return rules.by_method(resource)


def declares(
    success: Mapping[int, type[BaseModel] | dict[str, Any] | None],
    *causes: type[Exception],
    unsafe: bool = False,
    public: bool = False,
) -> ResponseDict:
    """The `responses` of an operation: what it answers, and a problem document for each status its errors have.

    Args:
        success: document classes, or OpenAPI response objects, by status; None for an empty answer.
        causes: error classes that the service call behind it raises.
        unsafe: it changes something, so the guards of bodies and origins apply.
        public: anybody may ask.
    """
    everywhere: tuple[type[Exception], ...] = (
        errors.ForeignHostError,
        ForbiddenError,
        InvalidRequestError,
        DatabaseUnavailableError,
    )
    access = () if public else (UnauthenticatedError,)
    guarded = (
        (errors.CrossSiteError, errors.JsonRequiredError, errors.MalformedJsonError, RateLimitedError) if unsafe else ()
    )
    codes: dict[int, list[str]] = {500: [errors.HTTP_CODES[500]]}
    if unsafe:
        codes[413] = [errors.HTTP_CODES[413]]
    for cause in (*everywhere, *access, *guarded, *causes):
        codes.setdefault(int(errors.status_of(cause)), []).append(str(vars(cause)["code"]))
    problems = {
        status: {
            "description": ", ".join(f"`{code}`" for code in names),
            "content": {"application/problem+json": {"schema": {"$ref": f"{SCHEMAS}/ProblemDocument"}}},
        }
        for status, names in sorted(codes.items())
    }
    declared: ResponseDict = {}
    for responses in (success, problems):
        declared.update(responses.items())
    return declared


def described(
    resource: APIBlueprint, model: type[BaseModel], *headers: str, media: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A success response that says more than which document it is.

    Args:
        resource: gets the document's schema.
        model: the document.
        headers: of `HEADERS`, those that come with it.
        media: further media types with their schemas.
    """
    schema = model.model_json_schema(mode="serialization", ref_template=f"{SCHEMAS}/{{model}}")
    for name, definition in {**schema.pop("$defs", {}), model.__name__: schema}.items():
        resource.components_schemas[name] = Schema(**definition)
    types = {"application/json": {"$ref": f"{SCHEMAS}/{model.__name__}"}, **(media or {})}
    return {
        "description": " ".join((model.__doc__ or "").split()),
        "content": {name: {"schema": schema} for name, schema in types.items()},
        "headers": {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in headers},
    }


def answer(document: BaseModel, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> Response:
    """A document as a JSON response."""
    return Response(document.model_dump_json(), status, dict(headers or {}), mimetype="application/json")


def accepted(document: BaseModel, location: str) -> Response:
    """202: the work was written down; `location` tells how it goes on."""
    return answer(document, HTTPStatus.ACCEPTED, {"Location": location, "Retry-After": "1"})


def conditional(version: str, build: Callable[[], Response]) -> Response:
    """The response of `build` with an ETag, or 304 without building it where the client has this version.

    The tag is weak: equal versions mean the same state, not the same bytes.
    """
    known = request.if_none_match.contains_weak(version)
    response = Response(status=HTTPStatus.NOT_MODIFIED) if known else build()
    response.set_etag(version, weak=True)
    return response


def operation_id(*, name: str, **_: str) -> str:
    """Operations are called like the functions behind them, in the document and in clients made from it."""
    return name
