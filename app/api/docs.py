"""/api/v1/openapi.json, and /api/docs: the same document to read and to try.

The usual pages for this load a megabyte of script, some of it from another host, and write style attributes that the
Content-Security-Policy forbids. This one is rendered here; without JavaScript it is still the reference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby
from operator import attrgetter
from typing import Any, cast

from flask import Blueprint, Response, current_app, render_template

from app.access import rules
from app.api.blueprints import PREFIX, runtime
from app.api.errors import HTTP_CODES, STATUSES

Json = Mapping[str, Any]

docs = rules.by_method(
    Blueprint(
        "api_docs",
        __name__,
        url_prefix="/api",
        template_folder="templates",
        static_folder="static",
        static_url_path="/static",
    )
)


@dataclass(frozen=True)
class Operation:
    """One method of one path; `body` is an example of what it takes, None where it takes nothing."""

    id: str
    tag: str
    method: str
    path: str
    summary: str
    parameters: tuple[Json, ...]
    body: str | None
    responses: tuple[tuple[str, Json], ...]


@dataclass(frozen=True)
class ErrorCode:
    """A code that a problem document may bear, its HTTP status, and what it means."""

    code: str
    status: int
    meaning: str


@docs.get(f"{PREFIX.removeprefix('/api')}/openapi.json")
def get_openapi() -> Response:
    """The OpenAPI 3.1 document."""
    return Response(json.dumps(_document(), indent=1), mimetype="application/json")


@docs.get("/docs")
def show_docs() -> str:
    """Every operation with a form to try it, every document, every error code."""
    document = _document()
    operations = groupby(_operations(document), key=attrgetter("tag"))
    return render_template(
        "api/docs.html",
        info=document["info"],
        tags={tag["name"]: tag["description"] for tag in document["tags"]},
        operations={tag: list(group) for tag, group in operations},
        schemas=document["components"]["schemas"],
        codes=error_codes(),
        type_of=type_of,
        asks_for_tokens=runtime().settings.auth != "local",
    )


def error_codes() -> list[ErrorCode]:
    """Every code that a problem document may bear, by status."""
    named = [
        ErrorCode(str(vars(cause)["code"]), int(status), (cause.__doc__ or "").strip())
        for cause, status in STATUSES.items()
    ]
    framework = [ErrorCode(code, status, f"{HTTPStatus(status).description}.") for status, code in HTTP_CODES.items()]
    return sorted([*named, *framework], key=attrgetter("status", "code"))


def type_of(schema: Json) -> str:
    """A schema in a few words, such as `list of int, or null`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return ", or ".join(map(type_of, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"list of {type_of(schema.get('items', {}))}"
    return f"{kind} ({schema['format']})" if "format" in schema else kind


def _document() -> Json:
    # The factory makes an OpenAPI application; Flask's type of `current_app` does not know.
    return cast("Json", current_app.api_doc)  # type: ignore[attr-defined]


def _operations(document: Json) -> Iterator[Operation]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield Operation(
                id=operation["operationId"],
                tag=operation["tags"][0],
                method=method.upper(),
                path=path,
                summary=operation["summary"],
                parameters=tuple(operation.get("parameters", ())),
                body=_example(operation["requestBody"], document) if "requestBody" in operation else None,
                responses=tuple(sorted(operation["responses"].items())),
            )


def _example(body: Json, document: Json) -> str:
    reference = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return json.dumps(document["components"]["schemas"][reference]["examples"][0], indent=2)
