"""Hostile hosts, tokens, form tokens, addresses to go on to, paths, and names that hold markup.

None gets through, and none is answered with a fault of the server.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient
from markupsafe import escape
from werkzeug.test import TestResponse

from app.access.gate import LOGIN
from app.dashboard.entrance import next_address
from app.representations.access import TokenRequest
from app.services.access import tokens
from app.services.access.identities import LOCAL
from tests.app_builders import Service
from tests.people import HOST, PASSWORD, People, form_token

HOSTS = [
    "evil.example",
    "evil.example:80",
    f"{HOST}.evil.example",
    f"evil.{HOST}",
    f"{HOST}@evil.example",
    f"{HOST}:80@evil.example",
    f"{HOST}/evil",
    f"{HOST}#evil",
    f"{HOST}?evil",
    f"{HOST}\\evil",
    f"{HOST} evil.example",
    f"{HOST}, evil.example",
    f"{HOST}.",
    "192.168.0.7",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - a name in a header, nothing is bound
    "[::]",
    "[::1",
    "::1]",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "2130706433",
    "0x7f.1",
    "a" * 5000,
    "\x00",
    "softvote\u202e.example",
    "",
]

GOOD = "sv_aaaaaaaa_" + "A" * 43
TOKENS = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer null",
    "Bearer undefined",
    f"Bearer {GOOD}",
    f"bearer {GOOD}",
    f"Basic {GOOD}",
    "Basic YWRhOmNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==",
    GOOD,
    f"Bearer Bearer {GOOD}",
    f"Bearer {GOOD}, Bearer {GOOD}",
    "Bearer sv_%_" + "A" * 43,
    "Bearer sv_________" + "A" * 43,
    "Bearer sv_aaaaaaaa_",
    "Bearer sv_aaaaaaaa_" + "A" * 42,
    "Bearer sv_aaaaaaaa_" + "A" * 44,
    "Bearer sv_aaaaaaaa_" + "é" * 43,
    "Bearer sv_aaaaaaaa_" + "'" * 43,
    "Bearer sv_' OR 1=1 --_" + "A" * 43,
    "Bearer ' OR '1'='1",
    "Bearer \x00",
    "Bearer sv_aaaaaaaa_" + "A" * 43 + "\x00",
    "Bearer " + "A" * 60_000,
    "Bearer \udcff\udcfe",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.",
    "Negotiate abc",
    "Bearer $argon2id$v=19$m=65536",
]

FORM_TOKENS = ["", "x", "null", "0", "' OR 1=1", "<script>", "A" * 10_000, "\x00", "IjEi.ZZZZ.AAAA", "é" * 91, "../.."]

ADDRESSES = [
    "//evil.example",
    "///evil.example",
    "////evil.example/x",
    "/\\evil.example",
    "\\\\evil.example",
    "/\\/evil.example",
    "\\/evil.example",
    "/evil\\@x",
    "https://evil.example",
    "HTTPS://evil.example",
    "https:evil.example",
    "http:/evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:x",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/\r\nSet-Cookie: a=b",
    "/\x00",
    "/\u2028/evil",
    "evil.example",
    "@evil.example",
    "?x",
    "//[::1",
    "/ok\x7f",
    "",
]

MARKUP = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "'><iframe srcdoc='<script>alert(1)</script>'>",
    "</title><script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
    "{{ 7 * 7 }}{{ config }}",
    "{% for x in range(9) %}x{% endfor %}",
    "${7*7}",
    "<!--<script>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<details open ontoggle=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "\u202egnp.exe",
    "javascript:alert(1)//",
    "<style>*{display:none}</style>",
    "<base href=//evil.example>",
    "<meta http-equiv=refresh content=0;url=//evil.example>",
    "<x hx-get=/users hx-trigger=load>",
]

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc",
    "....//etc",
    "\\..\\etc",
    "/proc/self/environ",
    "file:///etc",
    "~root",
]


def harmless(response: TestResponse) -> TestResponse:
    assert response.status_code < 500, response.text
    return response


def opens_with(client: FlaskClient, **headers: str) -> TestResponse:
    environ = {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    return harmless(client.get("/api/v1/evaluations", environ_overrides=environ))


def test_there_are_more_than_a_hundred_hostile_strings() -> None:
    assert sum(map(len, (HOSTS, TOKENS, FORM_TOKENS, ADDRESSES, MARKUP, PATHS))) >= 120


@pytest.mark.parametrize("host", HOSTS)
def test_a_hostile_host_is_refused_even_with_a_good_token(people: People, host: str) -> None:
    program = people.program(people.token("ada", "read"))
    for path in ("/api/v1/evaluations", "/healthz", "/login", "/assets/app.js"):
        with harmless(program.get(path, environ_overrides={"HTTP_HOST": host})) as answer:
            assert answer.status_code == 400, path
            assert "evil" not in answer.headers.get("Location", "")
    assert opens_with(program, host=HOST).status_code == 200


@pytest.mark.parametrize("header", TOKENS)
def test_a_hostile_token_opens_nothing(people: People, header: str) -> None:
    people.token("ada", "read", "run", "admin")
    answer = opens_with(people.client(), authorization=header)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    # A header that is wrong is no reason to look at the cookie.
    assert opens_with(people.browser("ada"), authorization=header).status_code == 401


@pytest.mark.parametrize("token", FORM_TOKENS)
def test_a_hostile_form_token_changes_nothing(people: People, token: str) -> None:
    admin = people.browser("ada")
    fields = {"csrf_token": token, "name": "mallory", "role": "admin", "password": PASSWORD, "again": PASSWORD}
    for headers in ({}, {"X-CSRFToken": token.replace("\x00", "").encode("ascii", "ignore").decode()}):
        assert harmless(admin.post("/users", data=fields, headers=headers)).status_code == 400
    assert "mallory" not in admin.get("/users").text


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_login_leads_to_another_site(people: People, address: str) -> None:
    client = people.client()
    page = harmless(client.get("/login", query_string={"next": address}))
    assert 'name="next" value="/"' in page.text or (page.status_code == 400 and "\x00" in address)
    fields = {"csrf_token": form_token(client, "/login"), "name": "ada", "password": PASSWORD, "next": address}
    assert harmless(client.post("/login", data=fields)).headers["Location"] == "/"
    assert harmless(client.get("/login", query_string={"next": address})).headers.get("Location", "/") == "/"


@pytest.mark.parametrize("address", ["/", "/evaluations", "/compare?base=1&candidate=2:a%2Fb", "/evaluations/a.b/live"])
def test_a_login_leads_to_a_page_of_this_site(people: People, address: str) -> None:
    client = people.client()
    with client.application.test_request_context("/"):
        assert next_address(address) == address


class Found(HTMLParser):
    """Elements and attributes of a page as a browser would see them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs


def shape(page: str) -> tuple[list[str], list[str]]:
    """Its elements, and the names of its attributes, in order: text that stays text changes neither."""
    found = Found(page)
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    assert not [
        v
        for name, v in found.attributes
        if name in ("href", "src", "action") and (v or "").lower().startswith(("javascript", "data:text", "//"))
    ]
    return found.tags, [name for name, _ in found.attributes]


@pytest.mark.parametrize("name", MARKUP)
def test_markup_in_a_name_stays_text_on_every_page_that_shows_it(people: People, name: str) -> None:
    def pages(given: str) -> list[tuple[list[str], list[str]]]:
        service, browser = Service(people.runtime), people.browser("ada")
        checkpoint, dataset = (
            service.request_checkpoint(given, tags=["tag"], notes=given),
            service.request_dataset(given),
        )
        key, _ = tokens.create(people.runtime.db, TokenRequest(name=given, user="ada"), LOCAL)
        addresses = ["/", "/checkpoints", f"/checkpoints/{checkpoint}", "/datasets", f"/datasets/{dataset}", "/tokens"]
        addresses += ["/users/ada", "/evaluations/new", "/evaluations"]
        shown = [harmless(browser.get(address)).text for address in addresses]
        assert sum(escape(given) in page for page in shown) > 4
        assert "<" not in given or not any(given in page for page in shown)
        with people.runtime.db.write() as session:
            for table in ("work_items", "checkpoints", "datasets", "api_tokens"):
                session.connection().exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - names above
        assert key
        return [shape(page) for page in shown]

    assert pages(name) == pages("harmless")


@pytest.mark.parametrize("name", MARKUP)
def test_markup_that_was_typed_stays_text_where_it_is_given_back(people: People, name: str) -> None:
    browser = people.browser("ada")
    for page in ("/users", "/tokens", "/checkpoints/new", "/datasets/new", "/evaluations/new"):
        fields = {"csrf_token": form_token(browser, page), "name": name, "path": name, "role": name, "scopes": name}
        fields |= {"user": name, "expires_in_days": name, "dataset": name, "checkpoint": name, "password": name}
        answer = harmless(browser.post(page, data=fields))
        assert answer.status_code == 422, page
        shape(answer.text)
        assert name not in re.sub(r'value="[^"]*"', "", answer.text) or "<" not in name
    for address in ("/evaluations", "/compare", "/checkpoints", "/login", "/nothing"):
        answer = harmless(
            browser.get(address, query_string={"search": name, "next": name, "base": name, "candidate": name})
        )
        shape(answer.text)
    answer = harmless(browser.get(f"/users/{name.replace('/', '')}"))
    assert answer.status_code in (404, 308)
    shape(answer.text)


@pytest.mark.parametrize("path", PATHS)
def test_a_hostile_path_is_refused_to_whoever_may_register(people: People, path: str) -> None:
    program = people.program(people.token("rob", "run"))
    for resource in ("datasets", "checkpoints"):
        answer = harmless(program.post(f"/api/v1/{resource}", json={"path": path, "name": "n"}))
        assert answer.status_code == 400
        assert answer.json is not None
        assert answer.json["code"] == "path_forbidden"
    for address in (f"/assets/{path}", f"/api/static/{path}", f"/setup/{path}", f"/api/v1/tokens/{path}"):
        answer = harmless(people.client().get(address))
        assert answer.status_code in (303, 308, 401, 404), address
        assert "root:" not in answer.text


def test_a_cookie_that_was_signed_with_another_key_opens_nothing(
    people: People, tmp_path_factory: pytest.TempPathFactory
) -> None:
    stranger = people.client()
    stranger.application.config["SECRET_KEY"] = b"x" * 32
    with stranger.session_transaction() as session:
        session[LOGIN] = people.log_in("ada")
    cookie = stranger.get_cookie("softvote_session")
    assert cookie is not None
    client = people.client()
    client.set_cookie("softvote_session", cookie.value)
    assert client.get("/").status_code == 303
