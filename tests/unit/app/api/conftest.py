"""A client that holds every answer against the OpenAPI document, so that each test is also a test of the document."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI
from openapi_schema_validator import OAS31Validator
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from app.factory import create_app
from app.runtime import Runtime
from tests.app_builders import Service, make_runtime


class CheckedClient(FlaskClient):
    """Fails where an answer is not one that the document announces."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        check_announced(self.application, response)
        return response


def check_announced(app: Any, response: TestResponse) -> None:
    """The status is declared for the operation, and the body fits the schema declared for its media type."""
    request = response.request
    try:
        rule, _ = app.url_map.bind("localhost").match(request.path, request.method, return_rule=True)
    except HTTPException:
        assert response.mimetype != "application/json"
        return
    document = app.api_doc
    path = rule.rule.replace("<", "{").replace(">", "}")
    operation = document["paths"].get(path, {}).get(request.method.lower())
    if operation is None:
        return
    declared = operation["responses"]
    assert str(response.status_code) in declared, f"{request.method} {path} does not declare {response.status}"
    content = declared[str(response.status_code)].get("content", {})
    if not response.data:
        assert not content
        return
    assert response.mimetype in content, f"{request.method} {path} does not declare {response.mimetype}"
    if response.mimetype.endswith("json"):
        schema = {**content[response.mimetype]["schema"], "components": document["components"]}
        OAS31Validator(schema).validate(response.json)


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose database is at head; copying it is quicker than migrating anew."""
    home = tmp_path_factory.mktemp("migrated") / "home"
    make_runtime(home).db.dispose()
    return home


@pytest.fixture
def runtime(migrated: Path, tmp_path: Path) -> Any:
    home = tmp_path / "home"
    shutil.copytree(migrated, home)
    runtime = make_runtime(home)
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def service(runtime: Runtime) -> Service:
    return Service(runtime)


@pytest.fixture
def app(runtime: Runtime) -> OpenAPI:
    app = create_app(runtime)
    app.test_client_class = CheckedClient
    return app


@pytest.fixture
def client(app: OpenAPI) -> FlaskClient:
    return app.test_client()
