"""docs/rest-api.md names every operation that exists, and no other; its requests are ones that the server takes."""

import json
import re
from pathlib import Path

import pytest
from flask_openapi.openapi import OpenAPI

from app.api import docs
from app.factory import create_app
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from tests.app_builders import make_runtime

PAGE = (Path(__file__).parents[3] / "docs/rest-api.md").read_text(encoding="utf-8")


@pytest.fixture
def app(tmp_path: Path) -> OpenAPI:
    return create_app(make_runtime(tmp_path / "home"))


def test_every_operation_is_documented(app: OpenAPI) -> None:
    documented = re.findall(r"^\| `([A-Z]+) (/\S+)` \|", PAGE, re.MULTILINE)
    operations = {(m.upper(), path) for path, methods in app.api_doc["paths"].items() for m in methods}
    assert set(documented) == operations
    assert len(documented) == len(operations)


def test_every_example_calls_something_that_exists(app: OpenAPI) -> None:
    urls = app.url_map.bind("localhost")
    examples = re.findall(r"\$URL(/[^\s\"'?]*)", PAGE)
    assert len(examples) > 8
    for path in examples:
        assert urls.allowed_methods(docs.PREFIX + path.replace("$ID", "id")), path


def test_every_body_in_an_example_is_a_valid_request() -> None:
    requests = {
        "datasets": DatasetRequest,
        "checkpoints": CheckpointRequest,
        "estimates": EvaluationRequest,
        "evaluations": EvaluationRequest,
    }
    bodies = re.findall(r"\$URL/(\w+) [^\n]*\\\n  -d '(\{.*\})'", PAGE)
    assert {resource for resource, _ in bodies} == set(requests)
    for resource, body in bodies:
        requests[resource].model_validate(json.loads(body))


def test_the_defaults_of_a_submission_are_the_documented_ones() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]+)`? \|", PAGE.partition("| field |")[2], re.MULTILINE))
    defaults = EvaluationRequest(dataset="d", checkpoints=["c"]).model_dump()
    assert {name: json.loads(text) for name, text in rows.items()} == {name: defaults[name] for name in rows}
    assert set(rows) == set(defaults) - {"dataset", "checkpoints", "protocol"}
