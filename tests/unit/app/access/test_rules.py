"""Every route has a rule, found in the URL map; a route without one is closed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Blueprint
from flask_openapi.openapi import OpenAPI

from app.access.rules import PUBLIC, SAFE_METHODS, need_of
from app.factory import create_app
from app.representations.access import Scope
from app.runtime import Runtime
from tests.app_builders import make_runtime

#: What anybody may open; a route is added here only by somebody who means it.
OPEN = {
    "dashboard.static",
    "api_docs.static",
    "health.get_health",
    "health.get_readiness",
    "dashboard.login",
    "dashboard.log_in",
    "dashboard.setup",
    "dashboard.log_out",
    "dashboard.set_up",
}

#: What changes only what belongs to whoever asks, and so needs no more than to be somebody.
OWN = {"dashboard.change_password", "dashboard.create_token", "dashboard.revoke_token", "tokens.revoke_token"}

#: What is asked with a body, and changes nothing.
QUESTIONS = {"estimates.estimate_evaluation"}


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def app(runtime: Runtime) -> OpenAPI:
    return create_app(runtime)


def test_every_route_has_a_rule(app: OpenAPI) -> None:
    routes = [(rule.endpoint, method) for rule in app.url_map.iter_rules() for method in rule.methods or ()]
    assert len(routes) > 100
    assert [route for route in routes if need_of(app, *route) is None] == []


def test_what_is_open_to_anybody_is_listed(app: OpenAPI) -> None:
    public = {
        r.endpoint for r in app.url_map.iter_rules() for m in r.methods or () if need_of(app, r.endpoint, m) == PUBLIC
    }
    assert public == OPEN


def test_what_changes_something_never_needs_only_to_read(app: OpenAPI) -> None:
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - SAFE_METHODS:
            if rule.endpoint not in OPEN | OWN | QUESTIONS:
                assert need_of(app, rule.endpoint, method) in (Scope.RUN, Scope.ADMIN), (rule.endpoint, method)


@pytest.mark.parametrize("with_blueprint", [False, True])
def test_a_route_that_nobody_gave_a_rule_is_refused_to_everybody(app: OpenAPI, with_blueprint: bool) -> None:
    if with_blueprint:
        forgotten = Blueprint("forgotten", __name__)
        forgotten.get("/forgotten")(lambda: "open")
        app.register_blueprint(forgotten)
    else:
        app.get("/forgotten")(lambda: "open")
    response = app.test_client().get("/forgotten", headers={"Accept": "application/json"})
    assert response.status_code == 403
    assert response.json is not None
    assert response.json["code"] == "forbidden"


def test_a_route_that_does_not_exist_is_not_found(app: OpenAPI) -> None:
    assert app.test_client().get("/api/v1/nothing").status_code == 404
    assert app.test_client().delete("/api/v1/events").status_code == 405
