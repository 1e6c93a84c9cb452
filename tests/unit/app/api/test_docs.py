import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI

from app.api.docs import docs, type_of


class Links(HTMLParser):
    """Everything that a page loads or points to, its ids, and what the Content-Security-Policy would block."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.inline: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self._in_script = tag in ("script", "style")
        self.loaded += [named[name] or "" for name in ("src",) if name in named]
        if tag == "link":
            self.loaded.append(named["href"] or "")
        if tag == "a":
            self.targets.append(named["href"] or "")
        if "id" in named:
            self.ids.append(named["id"] or "")
        self.inline += [name for name in named if name == "style" or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        if self._in_script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


@pytest.fixture
def page(client: FlaskClient) -> Links:
    response = client.get("/api/docs")
    assert (response.status_code, response.mimetype) == (200, "text/html")
    links = Links()
    links.feed(response.get_data(as_text=True))
    return links


def test_the_page_loads_only_its_own_files(client: FlaskClient, page: Links) -> None:
    assert sorted(page.loaded) == ["/api/static/docs.css", "/api/static/docs.js", "/assets/favicon.svg"]
    for path in page.loaded:
        with client.get(path) as response:
            assert response.status_code == 200
            assert response.headers["Cache-Control"] == "no-cache"


def test_the_page_has_nothing_that_the_policy_blocks(page: Links) -> None:
    assert page.inline == []


def test_the_page_shows_every_operation_and_every_link_has_its_target(app: OpenAPI, page: Links) -> None:
    operations = {o["operationId"] for methods in app.api_doc["paths"].values() for o in methods.values()}
    assert operations <= set(page.ids)
    assert {target[1:] for target in page.targets if target.startswith("#")} <= set(page.ids)
    assert len(set(page.ids)) == len(page.ids)


def test_the_type_of_an_error_leads_to_its_row(client: FlaskClient, page: Links) -> None:
    address = client.get("/api/v1/evaluations/none").json["type"]
    assert address.partition("#")[0] == "/api/docs"
    assert address.partition("#")[2] in page.ids


def test_the_script_never_writes_markup() -> None:
    script = (Path(str(docs.static_folder)) / "docs.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "string", "format": "date-time"}, "string (date-time)"),
        ({"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]}, "list of integer, or null"),
        ({"$ref": "#/components/schemas/ErrorInfo"}, "ErrorInfo"),
        ({"enum": ["fail", "skip"], "type": "string"}, '"fail", "skip"'),
        ({"const": "csv"}, '"csv"'),
        ({}, "anything"),
    ],
)
def test_a_schema_is_put_in_few_words(schema: dict[str, object], text: str) -> None:
    assert type_of(schema) == text
