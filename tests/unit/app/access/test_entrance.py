"""The way in and out, through real pages: login, set-up link, account, cookies, form tokens, limits."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete
from werkzeug.test import TestResponse

from app.access import first_start
from app.access.gate import LOGIN
from app.db.models import User
from app.factory import create_app
from app.services.access import rate_limits, setup_links
from tests.app_builders import Service, make_runtime
from tests.people import PASSWORD, People, form_token, make_guarded_runtime


def log_in(client: FlaskClient, name: str, password: str = PASSWORD, target: str = "") -> TestResponse:
    page = "/login" + (f"?next={target}" if target else "")
    return client.post(
        "/login", data={"csrf_token": form_token(client, page), "name": name, "password": password, "next": target}
    )


def test_a_person_logs_in_sees_the_page_that_was_wanted_and_logs_out(people: People) -> None:
    client = people.client()
    first = client.get("/evaluations?status=failed")
    assert (first.status_code, first.headers["Location"]) == (303, "/login?next=/evaluations?status%3Dfailed")
    answer = log_in(client, "Ada ", target="/evaluations?status=failed")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/evaluations?status=failed")
    page = client.get("/evaluations")
    assert "Account of ada, admin" in page.text
    assert page.headers["Cache-Control"] == "no-cache, private"
    assert client.get("/api/v1/evaluations").status_code == 200
    client.post("/logout", data={"csrf_token": form_token(client, "/")})
    assert client.get("/evaluations").status_code == 303
    assert client.get("/api/v1/evaluations").status_code == 401


def test_a_wrong_login_says_so_on_the_form_and_keeps_the_name_alone(people: People) -> None:
    answer = log_in(people.client(), "ada", "wrong password")
    assert answer.status_code == 401
    assert "name or password is wrong" in answer.text
    assert 'value="ada"' in answer.text
    assert "wrong password" not in answer.text.replace("name or password is wrong", "")


def test_too_many_logins_are_answered_429_with_the_seconds_to_wait(people: People) -> None:
    client = people.client()
    answers = [log_in(client, "ada", "wrong password") for _ in range(rate_limits.LOGINS_PER_NAME + 1)]
    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 60


def test_requests_that_change_something_are_limited_by_token_and_reading_is_not(people: People) -> None:
    program, other = people.program(people.token("rob", "read", "run")), people.program(people.token("rob", "run"))
    statuses = [program.post("/api/v1/evaluations", json={}).status_code for _ in range(61)]
    assert statuses == [422] * 60 + [429]
    limited = program.post("/api/v1/evaluations", json={})
    assert limited.json is not None
    assert (limited.json["code"], limited.status_code) == ("rate_limited", 429)
    assert 0 < int(limited.headers["Retry-After"]) <= 60
    assert program.get("/api/v1/evaluations").status_code == 200
    assert other.post("/api/v1/evaluations", json={}).status_code == 422


def test_a_login_begins_a_new_session_and_ends_the_one_before(people: People) -> None:
    client = people.browser("vera")
    with client.session_transaction() as session:
        session["planted"] = "by somebody"
        before = session[LOGIN]
    client.post("/login", data={"csrf_token": form_token(client, "/account"), "name": "ada", "password": PASSWORD})
    with client.session_transaction() as session:
        assert "planted" not in session
        assert session[LOGIN] != before
    old = people.client()
    with old.session_transaction() as session:
        session[LOGIN] = before
    assert old.get("/").status_code == 303


@pytest.mark.parametrize("secret", ["", "x", "x" * 43, 7, None, ["x"], "\x00"])
def test_a_made_up_session_opens_nothing(people: People, secret: object) -> None:
    client = people.client()
    with client.session_transaction() as session:
        session[LOGIN] = secret
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "action", ["/login", "/logout", "/account", "/tokens", "/users", "/users/vera", "/tokens/aaaaaaaa/revoke"]
)
def test_no_form_is_taken_without_its_token(people: People, action: str) -> None:
    client = people.browser("ada")
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": form_token(people.client(), "/login")}):
        answer = client.post(
            action, data={"name": "new", "password": PASSWORD, "again": PASSWORD, "disabled": "yes", **token}
        )
        assert answer.status_code == 400
        assert "CSRF" in answer.text
    assert client.get("/users").text.count('href="/users/') == 3


def test_an_admin_adds_a_user_who_logs_in_and_takes_another_password(people: People) -> None:
    admin = people.browser("ada")
    fields = {"csrf_token": form_token(admin, "/users"), "name": "sam", "role": "runner", "password": PASSWORD}
    assert "not the password that stands above" in admin.post("/users", data={**fields, "again": "other"}).text
    assert admin.post("/users", data={**fields, "again": PASSWORD}).status_code == 303
    sam = people.client()
    assert log_in(sam, "sam").status_code == 303
    new = "another long password"
    fields = {"csrf_token": form_token(sam, "/account"), "password": PASSWORD, "new_password": new, "again": new}
    assert sam.post("/account", data={**fields, "password": "wrong"}).status_code == 422
    assert sam.post("/account", data=fields).headers["Location"] == "/login"
    assert sam.get("/").status_code == 303
    assert log_in(sam, "sam", new).status_code == 303


def test_an_admin_changes_disables_and_cannot_lose_the_last_admin(people: People) -> None:
    admin = people.browser("ada")
    token = form_token(admin, "/users/rob")
    assert admin.post("/users/rob", data={"csrf_token": token, "role": "viewer"}).status_code == 303
    assert admin.post("/users/rob", data={"csrf_token": token, "disabled": "yes"}).status_code == 303
    assert "disabled" in admin.get("/users/rob").text
    answer = admin.post("/users/ada", data={"csrf_token": token, "role": "viewer"})
    assert answer.status_code == 422
    assert "is the last admin" in answer.text
    assert admin.get("/users/nobody").status_code == 404


def test_a_token_is_shown_once_works_and_is_revoked(people: People) -> None:
    client = people.browser("rob")
    fields = {"csrf_token": form_token(client, "/tokens"), "name": "ci", "scopes": ["read"], "expires_in_days": "30"}
    made = client.post("/tokens", data=fields)
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    text = re.findall(r"sv_[a-z2-7]{8}_[A-Za-z0-9_-]{43}", made.text)[0]
    assert text not in client.get("/tokens").text
    program = people.program(text)
    assert program.get("/api/v1/evaluations").status_code == 200
    client.post(f"/tokens/{text[3:11]}/revoke", data={"csrf_token": fields["csrf_token"]})
    refused = program.get("/api/v1/evaluations")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"] == 'Bearer realm="softvote"'


def test_people_see_their_own_tokens_and_admins_everybodys(people: People) -> None:
    for name in ("ada", "rob"):
        people.token(name, "read")
    assert people.browser("rob").get("/tokens").text.count("sv_") == 1 + 1  # a row, and the snippet
    assert people.browser("ada").get("/tokens").text.count("sv_") == 2 + 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": ""}, "a name is needed"),
        ({"scopes": []}, "choose at least one"),
        ({"scopes": ["read", "admin"]}, "role allows"),
        ({"scopes": ["root"]}, "Input should be"),
        ({"expires_in_days": "0"}, "greater than or equal to 1"),
        ({"expires_in_days": "9999"}, "less than or equal to 366"),
        ({"expires_in_days": "soon"}, "valid integer"),
        ({"user": "ada"}, "your own name, unless you are an admin"),
        ({"user": "nobody"}, "nobody"),
    ],
)
def test_what_is_wrong_with_a_token_stands_beside_its_field(
    people: People, fields: dict[str, str], problem: str
) -> None:
    client = people.browser("rob")
    honest = {"csrf_token": form_token(client, "/tokens"), "name": "ci", "scopes": ["read"], "expires_in_days": "30"}
    answer = client.post("/tokens", data={**honest, **fields})
    assert answer.status_code == 422
    assert problem in answer.text


def test_tokens_and_users_over_rest(people: People) -> None:
    admin = people.program(people.token("ada", "read", "admin"))
    made = admin.post("/api/v1/users", json={"name": "sam", "role": "runner", "password": PASSWORD})
    assert (made.status_code, made.json["name"]) == (201, "sam")
    assert "password" not in made.text
    assert admin.get(made.headers["Location"]).json == made.json
    changed = admin.patch("/api/v1/users/sam", json={"role": "viewer"})
    assert (changed.status_code, changed.json["role"]) == (200, "viewer")
    assert [user["name"] for user in admin.get("/api/v1/users").json["items"]] == ["ada", "rob", "sam", "vera"]
    token = admin.post("/api/v1/tokens", json={"name": "ci", "scopes": ["read"], "user": "rob"})
    assert (token.status_code, token.json["user"], token.json["state"]) == (201, "rob", "active")
    program = people.program(token.json["token"])
    listed = program.get("/api/v1/tokens").json["items"]
    assert [item["id"] for item in listed] == [token.json["id"]]
    assert "token" not in listed[0]
    others = next(item["id"] for item in admin.get("/api/v1/tokens").json["items"] if item["user"] == "ada")
    assert program.get(f"/api/v1/tokens/{others}").status_code == 404
    assert program.delete(f"/api/v1/tokens/{others}").status_code == 404
    assert program.delete(token.headers["Location"]).status_code == 204
    assert program.get("/api/v1/tokens").status_code == 401
    assert admin.patch("/api/v1/users/ada", json={"disabled": True}).json["code"] == "last_admin"
    short = admin.patch("/api/v1/users/sam", json={"password": "hunter2"})
    assert (short.status_code, "hunter2" in short.text) == (422, False)


def test_the_setup_link_is_printed_while_there_is_nobody_and_makes_the_first_administrator(people: People) -> None:
    assert first_start.notice(people.runtime) is None
    with people.runtime.db.write() as session:
        session.execute(delete(User))
    text = first_start.notice(people.runtime)
    assert text is not None
    link = re.findall(r"http://softvote\.example(/setup/\S+)", text)[0]
    client = people.client()
    fields = {"csrf_token": form_token(client, link), "name": "eve", "password": PASSWORD, "again": PASSWORD}
    assert client.post(link, data={**fields, "again": "x"}).status_code == 422
    assert client.post(link, data={**fields, "name": "Eve!"}).status_code == 422
    assert client.post(link, data=fields).headers["Location"] == "/users"
    assert "You are the first administrator" in client.get("/users").text
    assert people.client().get(link).status_code == 404
    assert first_start.notice(people.runtime) is None


def test_a_fragment_of_a_page_leads_the_whole_page_to_the_login(people: People) -> None:
    headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/evaluations/1?x=y"}
    answer = people.client().get("/evaluations/1/live", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login?next=/evaluations/1?x%3Dy"
    foreign = people.client().get(
        "/evaluations/1/live", headers={**headers, "HX-Current-URL": "https://evil.example//evil"}
    )
    assert foreign.headers["HX-Redirect"] == "/login"


@pytest.fixture
def https_people(home_with_people: Path) -> Iterator[People]:
    runtime = make_guarded_runtime(
        home_with_people, SOFTVOTE_PUBLIC_URL="https://softvote.example", SOFTVOTE_PROXIES="1"
    )
    yield People(runtime)
    runtime.db.dispose()


def test_over_https_cookies_are_secure_and_browsers_are_told_to_stay(https_people: People) -> None:
    headers = {"X-Forwarded-Proto": "https", "Host": "softvote.example"}
    answer = https_people.client().get("/login", headers=headers)
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-softvote_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_only_a_trusted_proxy_says_who_asks(https_people: People, people: People) -> None:
    def tries(asked: People, scheme: str) -> list[int]:
        client, site = asked.client(), {"base_url": f"{scheme}://localhost"}
        proto = {"X-Forwarded-Proto": scheme, "Referer": f"{scheme}://localhost/login"}
        page = client.get("/login", headers=proto, **site)  # type: ignore[arg-type]
        token = re.findall(r'name="csrf_token" value="([^"]+)"', page.text)[0]
        fields = {"csrf_token": token, "name": "ada", "password": "wrong password"}
        return [
            client.post(
                "/login", data=fields, headers={**proto, "X-Forwarded-For": f"192.0.2.{number}"}, **site
            ).status_code  # type: ignore[arg-type]
            for number in range(6)
        ]

    assert tries(people, "http") == [401] * 5 + [429]  # without proxies the header is anybody's invention
    assert tries(https_people, "https") == [401] * 6


def test_where_nobody_logs_in_other_machines_get_nothing_even_if_the_server_listens_to_them(tmp_path: Path) -> None:
    runtime = make_runtime(tmp_path / "home")
    client = create_app(runtime).test_client()
    for address, status in (("127.0.0.1", 200), ("127.8.9.1", 200), ("::1", 200), ("::ffff:127.0.0.1", 200)):
        assert client.get("/api/v1/workers", environ_base={"REMOTE_ADDR": address}).status_code == status
    for address in ("192.0.2.1", "172.17.0.1", "::ffff:10.0.0.1", "", "unix:"):
        answer = client.get("/api/v1/workers", environ_base={"REMOTE_ADDR": address})
        assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert client.get("/account").headers["Location"] == "/"
    for page in ("/tokens", "/users"):
        assert "Nobody logs in here" in client.get(page).text
    runtime.db.dispose()


def test_commands_to_copy_show_the_token_where_one_is_needed(people: People) -> None:
    service = Service(people.runtime)
    service.add_dataset()
    service.add_checkpoint()
    address = "/evaluations/new?dataset=digits&checkpoint=vgg-a&protocol=vgg-single-scale"
    page = people.browser("rob").get(address).text
    assert "Bearer $SOFTVOTE_TOKEN" in page
    assert 'id="token"' in people.browser("rob").get("/api/docs").text


def test_a_web_process_prints_the_link_at_its_first_start_and_never_again(tmp_path: Path) -> None:
    make_guarded_runtime(tmp_path / "home").db.dispose()
    environment = {
        **os.environ,
        "SOFTVOTE_HOME": str(tmp_path / "home"),
        "SOFTVOTE_AUTH": "users",
        "SOFTVOTE_PUBLIC_URL": "https://softvote.example",
    }

    def started() -> str:
        program = "import sys, app.wsgi; assert not {'torch', 'celery', 'redis'} & set(sys.modules)"
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr

    links = re.findall(r"https://softvote\.example/setup/(\S{43})\n", started())
    assert len(links) == 1
    runtime = make_guarded_runtime(tmp_path / "home")
    setup_links.use(runtime.db, links[0], "ada", PASSWORD)
    runtime.db.dispose()
    assert started() == ""
