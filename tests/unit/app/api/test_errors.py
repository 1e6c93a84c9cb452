import importlib
import inspect
import logging
import re

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI

from app.access.rules import needs
from app.api.docs import error_codes
from app.api.errors import HTTP_CODES, STATUSES, problem_of, status_of
from app.errors import DatabaseUnavailableError
from tests.error_classes import error_classes

#: Errors of the command line, which is a client of the API.
CLIENT = "app.cli.http_backend"


def answered() -> dict[str, str]:
    """Codes of the error classes that a request can meet, by class; workers and the command line have more."""
    return {name: error.code for name, error in error_classes("app", "ensembles").items() if error.module != CLIENT}


def test_every_error_class_has_its_own_status_in_the_map() -> None:
    assert sorted(answered()) == sorted(error.__name__ for error in STATUSES)


def test_the_page_of_the_api_lists_every_code_that_it_answers_with() -> None:
    assert {row.code for row in error_codes()} == {*answered().values(), *HTTP_CODES.values()}


def test_an_error_class_that_is_not_in_the_map_takes_its_ancestors_status() -> None:
    class BusyError(DatabaseUnavailableError):
        """A leaf that somebody forgot."""

    assert status_of(BusyError) == 503
    assert status_of(KeyError) == 500


def test_every_document_names_its_code_in_type_and_title() -> None:
    problem = problem_of(DatabaseUnavailableError("away"))
    assert (problem.type, problem.title) == ("/api/docs#database_unavailable", "Database unavailable")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "unknown_route"),
        ("GET", "/api/nothing", 404, "unknown_route"),
        ("PUT", "/api/v1/evaluations", 405, "method_not_allowed"),
        ("DELETE", "/healthz", 405, "method_not_allowed"),
    ],
)
def test_what_the_framework_refuses_is_a_problem_document_too(
    client: FlaskClient, method: str, path: str, status: int, code: str
) -> None:
    response = client.open(path, method=method)
    assert (response.status_code, response.json["code"]) == (status, code)
    assert response.content_type == "application/problem+json"
    assert response.json["status"] == status
    assert response.json["errors"] == []
    if status == 405:
        assert "GET" in response.headers["Allow"]


def test_an_unforeseen_error_is_logged_and_tells_a_stranger_nothing(
    app: OpenAPI, caplog: pytest.LogCaptureFixture
) -> None:
    @needs("public")
    def broken() -> str:
        raise RuntimeError("password=hunter2")

    app.add_url_rule("/api/v1/broken", view_func=broken)
    with caplog.at_level(logging.ERROR):
        response = app.test_client().get("/api/v1/broken")
    assert (response.status_code, response.json["code"]) == (500, "internal_error")
    assert b"hunter2" not in response.data
    assert "hunter2" in caplog.text
    assert response.headers["Content-Security-Policy"]


def test_people_get_a_page_where_programs_get_a_document(client: FlaskClient) -> None:
    page = client.get("/nothing", headers={"Accept": "text/html,*/*;q=0.8"})
    document = client.get("/api/v1/nothing", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.mimetype) == (404, "text/html")
    assert b"unknown_route" in page.data
    assert (document.status_code, document.mimetype) == (404, "application/problem+json")


def test_only_the_map_knows_http_statuses() -> None:
    for module in ("checkpoints", "datasets", "evaluations", "events", "health", "protocols", "workers"):
        source = inspect.getsource(importlib.import_module(f"app.api.{module}"))
        assert not re.search(r"abort\(|status=[45]\d\d|except ", source), module
