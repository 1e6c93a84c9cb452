from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI
from openapi_spec_validator import OpenAPIV31SpecValidator

METHODS = {"GET", "POST", "PATCH", "DELETE", "PUT"}


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    """What clients are generated from."""
    response = client.get("/api/v1/openapi.json")
    assert response.mimetype == "application/json"
    found: dict[str, Any] = response.json
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_every_route_for_programs_is_in_the_document(app: OpenAPI, document: dict[str, Any]) -> None:
    routes = {
        (method, rule.rule.replace("<", "{").replace(">", "}"))
        for rule in app.url_map.iter_rules()
        for method in rule.methods & METHODS
        if rule.endpoint.partition(".")[0] not in ("dashboard", "api_docs")
    }
    assert routes == {(method, path) for method, path, _ in operations(document)}
    assert len(routes) > 20


#: What is not for programs that read JSON.
OTHER_MEDIA = {
    "/metrics": "text/plain",
    "/api/v1/badges/{reference}.svg": "image/svg+xml",
    "/api/v1/evaluations/{id}/contenders": "application/octet-stream",
    "/api/v1/gates/{id}/junit": "application/xml",
    "/api/v1/gates/{id}/markdown": "text/markdown",
}


def test_every_operation_declares_what_it_answers(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        declared = operation["responses"]
        successes = [status for status in declared if status.startswith("2")]
        assert len(successes) == 1, (method, path)
        assert {"400", "422", "500", "503"} <= set(declared), (method, path)
        if "{" in path:
            assert "404" in declared, (method, path)
        # Its type is asked for even where a body says nothing, which a client learns from the document alone.
        assert ("requestBody" in operation) == (method in ("POST", "PUT", "PATCH")), (method, path)
        if method != "GET":
            assert {"403", "413", "415"} <= set(declared), (method, path)
        for status, response in declared.items():
            assert response["description"], (method, path, status)
            if status >= "400":
                schema = response["content"]["application/problem+json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ProblemDocument"}
            elif status not in ("204", "304"):
                media = OTHER_MEDIA.get(path, "application/json")
                assert response["content"][media]["schema"], (method, path)


def test_what_starts_work_declares_where_to_follow_it(document: dict[str, Any]) -> None:
    accepted = [o["responses"]["202"] for _, _, o in operations(document) if "202" in o["responses"]]
    assert len(accepted) >= 7
    for response in accepted:
        assert set(response["headers"]) == {"Location", "Retry-After"}


def test_every_operation_has_a_summary_and_an_id_of_its_own(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(operation["summary"] for _, _, operation in operations(document))


def test_every_body_has_an_example_that_fits_it(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            assert document["components"]["schemas"][name]["examples"], path
