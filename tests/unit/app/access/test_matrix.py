"""Every route of the URL map, asked by everybody that there is: who gets past the gate, and who does not."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app.access.rules import PUBLIC, SAFE_METHODS, need_of
from app.db.base import utc_now
from app.representations.access import SCOPES_OF, Role, Scope
from tests.people import People

#: What each may do. A session's scopes are its role's, a token's are those it has in common with its owner's role.
SESSIONS: dict[str, frozenset[Scope]] = {
    "ada": SCOPES_OF[Role.ADMIN],
    "rob": SCOPES_OF[Role.RUNNER],
    "vera": SCOPES_OF[Role.VIEWER],
}


def lowered(people: People) -> str:
    people.add("former", "admin")
    text = people.token("former", "read", "run", "admin")
    people.change("former", role="viewer")
    return text


def expired(people: People) -> str:
    text = people.token("ada", "read", "run", "admin")
    people.set_token(text, expires_at=utc_now() - dt.timedelta(seconds=1))
    return text


def revoked(people: People) -> str:
    text = people.token("ada", "read", "run", "admin")
    people.set_token(text, revoked_at=utc_now())
    return text


def of_disabled(people: People) -> str:
    people.add("gone", "admin")
    text = people.token("gone", "read", "run", "admin")
    people.change("gone", disabled=True)
    return text


TOKENS: dict[str, tuple[Callable[[People], str], frozenset[Scope]]] = {
    "read": (lambda people: people.token("ada", "read"), frozenset({Scope.READ})),
    "run": (lambda people: people.token("ada", "run"), frozenset({Scope.RUN})),
    "admin": (lambda people: people.token("ada", "admin"), frozenset({Scope.ADMIN})),
    "read and run": (lambda people: people.token("rob", "read", "run"), frozenset({Scope.READ, Scope.RUN})),
    "owner's role lowered": (lowered, frozenset({Scope.READ})),
    "expired": (expired, frozenset()),
    "revoked": (revoked, frozenset()),
    "owner disabled": (of_disabled, frozenset()),
}


def path_of(client: FlaskClient, rule: Rule) -> str:
    values = dict.fromkeys(rule.arguments, 1 if "int:" in rule.rule else "x")
    return client.application.url_map.bind("localhost").build(rule.endpoint, values)


def ask(client: FlaskClient, path: str, method: str) -> TestResponse:
    body = {"json": {}} if method not in SAFE_METHODS and path.startswith("/api/") else {}
    return client.open(path, method=method, **body)  # type: ignore[arg-type]


def verdict(response: TestResponse) -> str:
    """What the gate said; behind it, anything but a fault of the server will do."""
    assert response.status_code < 500, response.request.path
    assert response.status_code != 429, response.request.path
    location = response.headers.get("Location", "")
    if response.status_code == 303 and location.startswith("/login") and response.request.path != "/logout":
        return "unauthenticated"
    if response.status_code == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer ")
        return "unauthenticated"
    text = response.get_data(as_text=True)
    return "forbidden" if response.status_code == 403 and ("forbidden" in text or not text) else "passed"


def walk(people: People, client: FlaskClient, expected: Callable[[Rule, str, Scope], str]) -> None:
    app = client.application
    asked = set()
    for made in app.url_map.iter_rules():
        # A minute allows sixty requests that change something.
        people.forget_rates()
        for method in sorted(made.methods or ()):
            path = path_of(client, made)
            # OPTIONS of an address with several rules goes to one of them.
            rule, _ = app.url_map.bind("localhost").match(path, method, return_rule=True)
            need = need_of(app, rule.endpoint, method)
            assert need is not None, (rule.endpoint, method)
            wanted = "passed" if need == PUBLIC else expected(rule, method, Scope(need))
            with ask(client, path, method) as response:
                assert verdict(response) == wanted, (rule.endpoint, method)
            asked.add((rule.endpoint, method))
    assert {endpoint for endpoint, _ in asked} == {rule.endpoint for rule in app.url_map.iter_rules()}


def is_page(rule: Rule) -> bool:
    return rule.endpoint.startswith("dashboard.")


def test_a_stranger_gets_in_nowhere(people: People) -> None:
    walk(people, people.client(), lambda _rule, _method, _need: "unauthenticated")


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_opens_what_its_role_may(people: People, name: str) -> None:
    def expected(rule: Rule, method: str, need: Scope) -> str:
        if not is_page(rule) and method not in SAFE_METHODS:
            return "unauthenticated"  # what changes something over REST knows no cookies
        return "passed" if need in SESSIONS[name] else "forbidden"

    walk(people, people.browser(name), expected)


@pytest.mark.parametrize("case", TOKENS)
def test_a_token_opens_what_its_scopes_and_its_owner_may(people: People, case: str) -> None:
    make, scopes = TOKENS[case]
    is_alive = bool(scopes)

    def expected(rule: Rule, _method: str, need: Scope) -> str:
        if is_page(rule) or not is_alive:
            return "unauthenticated"
        return "passed" if need in scopes else "forbidden"

    walk(people, people.program(make(people)), expected)
