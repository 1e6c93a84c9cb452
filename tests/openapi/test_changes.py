"""The finder of breaking changes, on edits of the document that the server really gives."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.openapi.changes import breaking_changes
from tests.openapi.golden import served

Document = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Document:
    return served()


def operation(document: Document, method: str, path: str) -> Any:
    return document["paths"][f"/api/v1{path}"][method]


def parameter(document: Document, method: str, path: str, name: str) -> Any:
    return next(one for one in operation(document, method, path)["parameters"] if one["name"] == name)


def schema(document: Document, name: str) -> Any:
    return document["components"]["schemas"][name]


def field(document: Document, name: str, key: str) -> Any:
    return schema(document, name)["properties"][key]


def answer(document: Document, method: str, path: str, status: str) -> Any:
    return operation(document, method, path)["responses"][status]


BREAKING: dict[str, tuple[Callable[[Document], object], str]] = {
    "a path": (lambda d: d["paths"].pop("/api/v1/estimates"), "POST /api/v1/estimates: is gone"),
    "a method": (
        lambda d: d["paths"]["/api/v1/checkpoints/{key}"].pop("delete"),
        "DELETE /api/v1/checkpoints/{key}: is gone",
    ),
    "a client's name of an operation": (
        lambda d: operation(d, "get", "/workers").update(operationId="workers"),
        "GET /api/v1/workers: is called workers in clients, was list_workers",
    ),
    "a query parameter": (
        lambda d: operation(d, "get", "/evaluations")["parameters"].remove(
            parameter(d, "get", "/evaluations", "status")
        ),
        "GET /api/v1/evaluations query parameter status: is gone",
    ),
    "a parameter that is required now": (
        lambda d: parameter(d, "post", "/evaluations", "Idempotency-Key").update(required=True),
        "POST /api/v1/evaluations header parameter Idempotency-Key: is required now",
    ),
    "a new required parameter": (
        lambda d: (
            operation(d, "get", "/workers")["parameters"].append(
                {"in": "query", "name": "team", "required": True, "schema": {"type": "string"}}
            )
            if "parameters" in operation(d, "get", "/workers")
            else operation(d, "get", "/workers").update(
                parameters=[{"in": "query", "name": "team", "required": True, "schema": {"type": "string"}}]
            )
        ),
        "GET /api/v1/workers query parameter team: is new and required",
    ),
    "a narrower parameter": (
        lambda d: parameter(d, "get", "/evaluations", "limit")["schema"].update(maximum=100),
        "GET /api/v1/evaluations query parameter limit: maximum is 100 now, was 200",
    ),
    "a parameter of another type": (
        lambda d: parameter(d, "get", "/evaluations", "limit")["schema"].update(type="boolean"),
        "GET /api/v1/evaluations query parameter limit: no longer takes integer",
    ),
    "a new required field of a request": (
        lambda d: (
            field(d, "EvaluationRequest", "dataset"),
            schema(d, "EvaluationRequest")["required"].append("team"),
            schema(d, "EvaluationRequest")["properties"].update(team={"type": "string"}),
        ),
        "EvaluationRequest in requests/team: is required now",
    ),
    "a field of a request that is required now": (
        lambda d: schema(d, "EvaluationRequest")["required"].append("limit"),
        "EvaluationRequest in requests/limit: is required now",
    ),
    "a field of a request": (
        lambda d: schema(d, "EvaluationRequest")["properties"].pop("priority"),
        "EvaluationRequest in requests/priority: is gone",
    ),
    "a request's null": (
        lambda d: field(d, "EvaluationRequest", "limit").update(anyOf=[{"type": "integer", "minimum": 1}]),
        "EvaluationRequest in requests/limit: no longer takes null",
    ),
    "a request's enum value": (
        lambda d: field(d, "EvaluationRequest", "unreadable").update(enum=["fail"]),
        "EvaluationRequest in requests/unreadable: no longer takes 'skip'",
    ),
    "a request's text that becomes an enum": (
        lambda d: field(d, "FusionRequest", "rule").update(enum=["mean"]),
        "FusionRequest in requests/rule: takes only 'mean' now",
    ),
    "a request's narrower number": (
        lambda d: field(d, "EvaluationRequest", "priority").update(minimum=1),
        "EvaluationRequest in requests/priority: minimum is 1 now, was 0",
    ),
    "a request's pattern": (
        lambda d: field(d, "EvaluationRequest", "dataset").update(pattern="^[a-z]+$"),
        "EvaluationRequest in requests/dataset: pattern is '^[a-z]+$' now",
    ),
    "a list's items in a request": (
        lambda d: field(d, "EvaluationRequest", "checkpoints").update(items={"type": "string"}),
        "EvaluationRequest in requests/checkpoints/*: no longer takes object",
    ),
    "a body that is gone": (
        lambda d: operation(d, "post", "/evaluations").pop("requestBody"),
        "POST /api/v1/evaluations: takes no body any more",
    ),
    "an open object that is closed": (
        lambda d: [
            one.update(additionalProperties=False, properties={})
            for one in field(d, "EvaluationRequest", "protocol")["anyOf"]
            if one["type"] == "object"
        ],
        "EvaluationRequest in requests/protocol: no longer takes other fields",
    ),
    "a field of an answer": (
        lambda d: schema(d, "EvaluationDocument")["properties"].pop("waiting_for"),
        "EvaluationDocument in answers/waiting_for: is gone",
    ),
    "a field of a nested answer": (
        lambda d: schema(d, "ProgressDocument")["properties"].pop("eta_seconds"),
        "ProgressDocument in answers/eta_seconds: is gone",
    ),
    "an answer's field that may be missing": (
        lambda d: schema(d, "EvaluationDocument")["required"].remove("images"),
        "EvaluationDocument in answers/images: may be missing now",
    ),
    "an answer's null": (
        lambda d: field(d, "EvaluationDocument", "images").update(type=["integer", "null"]),
        "EvaluationDocument in answers/images: may be null now",
    ),
    "an answer's other type": (
        lambda d: field(d, "EvaluationDocument", "images").update(type="string"),
        "EvaluationDocument in answers/images: may be string now",
    ),
    "an answer's wider number": (
        lambda d: field(d, "EvaluationDocument", "images").update(type="number"),
        "EvaluationDocument in answers/images: may be number now",
    ),
    "an answer's new enum value": (
        lambda d: field(d, "ScoreDocument", "metric")["enum"].append("auc"),
        "ScoreDocument in answers/metric: may be 'auc' now",
    ),
    "a success status": (
        lambda d: operation(d, "post", "/evaluations")["responses"].update(
            {"201": operation(d, "post", "/evaluations")["responses"].pop("202")}
        ),
        "POST /api/v1/evaluations: no longer answers 202",
    ),
    "a media type": (
        lambda d: answer(d, "get", "/evaluations/{id}/scores", "200")["content"].pop("text/csv"),
        "GET /api/v1/evaluations/{id}/scores 200: no longer answers text/csv",
    ),
    "a header": (
        lambda d: answer(d, "post", "/evaluations", "202")["headers"].pop("Location"),
        "POST /api/v1/evaluations 202: header Location is gone",
    ),
}

HARMLESS: dict[str, Callable[[Document], object]] = {
    "a new path": lambda d: d["paths"].update({"/api/v1/new": d["paths"]["/api/v1/workers"]}),
    "a new optional parameter": lambda d: operation(d, "get", "/evaluations")["parameters"].append(
        {"in": "query", "name": "team", "required": False, "schema": {"type": "string"}}
    ),
    "a new optional field of a request": lambda d: schema(d, "EvaluationRequest")["properties"].update(team={}),
    "a field that is no longer required": lambda d: schema(d, "EvaluationRequest")["required"].remove("dataset"),
    "a new field of an answer": lambda d: schema(d, "EvaluationDocument")["properties"].update(team={}),
    "a request's new enum value": lambda d: field(d, "EvaluationRequest", "unreadable")["enum"].append("ask"),
    "a request's wider number": lambda d: field(d, "EvaluationRequest", "priority").update(maximum=99),
    "a request's new null": lambda d: field(d, "EvaluationRequest", "priority").update(type=["integer", "null"]),
    "a request's integer that may be any number": lambda d: field(d, "EvaluationRequest", "priority").update(
        type="number"
    ),
    "an answer that is never null": lambda d: field(d, "EvaluationDocument", "waiting_for").update(
        anyOf=[{"type": "string"}]
    ),
    "an answer's fewer enum values": lambda d: field(d, "ScoreDocument", "metric")["enum"].remove("ece"),
    "a new error status": lambda d: operation(d, "get", "/workers")["responses"].update({"429": {"description": ""}}),
    "other words": lambda d: schema(d, "EvaluationRequest").update(description="", title="", examples=[]),
    "a new media type": lambda d: answer(d, "get", "/workers", "200")["content"].update({"text/csv": {}}),
}


def test_a_document_breaks_nothing_of_itself(document: Document) -> None:
    assert breaking_changes(document, copy.deepcopy(document)) == []


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_clients_is_found_and_named(document: Document, name: str) -> None:
    edit, sentence = BREAKING[name]
    edited = copy.deepcopy(document)
    edit(edited)
    found = breaking_changes(document, edited)
    assert any(one.startswith(sentence) for one in found), found


@pytest.mark.parametrize("name", HARMLESS)
def test_what_breaks_nobody_is_let_pass(document: Document, name: str) -> None:
    edited = copy.deepcopy(document)
    HARMLESS[name](edited)
    assert edited != document
    assert breaking_changes(document, edited) == []


def test_schemas_that_hold_themselves_are_compared_to_an_end() -> None:
    tree: Document = {
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    }
    old: Document = {
        "paths": {
            "/tree": {
                "get": {
                    "operationId": "get_tree",
                    "responses": {
                        "200": {
                            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}},
                        }
                    },
                }
            }
        },
        "components": {"schemas": {"Tree": tree}},
    }
    new = copy.deepcopy(old)
    assert breaking_changes(old, new) == []
    new["components"]["schemas"]["Tree"]["properties"]["children"]["items"] = {"type": "string"}
    assert breaking_changes(old, new) == ["Tree in answers/children/*: may be string now"]
