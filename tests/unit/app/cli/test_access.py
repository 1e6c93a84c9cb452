"""`softvote user` and `softvote token`, at the machine and against a server that asks for tokens."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from werkzeug.serving import make_server

from app.cli.main import main
from app.errors import UnauthenticatedError
from app.factory import create_app
from app.runtime import Runtime
from app.services.access import tokens
from tests.people import PASSWORD, People, make_guarded_runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = make_guarded_runtime(tmp_path / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def url(runtime: Runtime) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, create_app(runtime), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def run(runtime: Runtime, *arguments: str, typed: str = "", **environment: str) -> Result:
    home = {"SOFTVOTE_HOME": str(runtime.settings.home), "SOFTVOTE_URL": "", "SOFTVOTE_TOKEN": ""}
    return CliRunner().invoke(main, list(arguments), input=typed, env={**home, **environment})


def ok(runtime: Runtime, *arguments: str, typed: str = "", **environment: str) -> str:
    result = run(runtime, *arguments, typed=typed, **environment)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_people_and_tokens_are_managed_at_the_machine(runtime: Runtime) -> None:
    ok(runtime, "user", "create", "ada", "--role", "admin", typed=f"{PASSWORD}\n{PASSWORD}\n")
    ok(runtime, "user", "create", "rob", "--password-stdin", typed=f"{PASSWORD}\n")
    ok(runtime, "user", "role", "rob", "runner")
    listed = json.loads(ok(runtime, "user", "ls", "--json"))
    assert [(user["name"], user["role"], user["disabled"]) for user in listed] == [
        ("ada", "admin", False),
        ("rob", "runner", False),
    ]
    text = ok(runtime, "token", "create", "ci", "--user", "rob", "--scope", "read", "--scope", "run").strip()
    assert tokens.authenticate(runtime.db, text).name == "rob"
    assert "sv_" not in ok(runtime, "token", "ls")
    ok(runtime, "user", "disable", "rob")
    with pytest.raises(UnauthenticatedError):
        tokens.authenticate(runtime.db, text)
    ok(runtime, "user", "enable", "rob")
    ok(runtime, "token", "revoke", text[3:11])
    assert "revoked" in ok(runtime, "token", "ls")
    old = People(runtime).log_in("rob")
    assert old
    ok(runtime, "user", "password", "rob", "--password-stdin", typed="another long password\n")
    with pytest.raises(Exception, match="name or password is wrong"):
        People(runtime).log_in("rob")


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (("user", "create", "rob"), f"{PASSWORD}\n{PASSWORD}\n", "admin, for the first user"),
        (("user", "create", "ada", "--role", "admin"), "short\nshort\n", "12 to 200 characters"),
        (("user", "create", "Ada", "--role", "admin"), f"{PASSWORD}\n{PASSWORD}\n", "name"),
        (("user", "role", "nobody", "viewer"), "", "no user 'nobody'"),
        (("token", "create", "ci"), "", "the owner's name, where nobody is logged in"),
        (("token", "revoke", "aaaaaaaa"), "", "no token 'aaaaaaaa'"),
    ],
)
def test_what_is_wrong_is_said_and_no_password_repeated(
    runtime: Runtime, arguments: tuple[str, ...], typed: str, message: str
) -> None:
    result = run(runtime, *arguments, typed=typed)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not typed or typed.split("\n", 1)[0] not in result.output


def test_a_server_is_asked_with_the_token_and_refuses_without(runtime: Runtime, url: str) -> None:
    people = People(runtime)
    people.add("ada", "admin")
    people.add("rob", "runner")
    refused = run(runtime, "ls", SOFTVOTE_URL=url)
    assert (refused.exit_code, "unauthenticated" in refused.stderr) == (2, True)
    reader = {"SOFTVOTE_URL": url, "SOFTVOTE_TOKEN": people.token("rob", "read")}
    assert json.loads(ok(runtime, "ls", "--json", **reader)) == []
    forbidden = run(runtime, "user", "ls", **reader)
    assert (forbidden.exit_code, "the scope 'admin' is needed" in forbidden.stderr) == (2, True)
    admin = {"SOFTVOTE_URL": url, "SOFTVOTE_TOKEN": people.token("ada", "read", "admin")}
    ok(runtime, "user", "create", "sam", "--password-stdin", typed=f"{PASSWORD}\n", **admin)
    ok(runtime, "user", "role", "sam", "runner", **admin)
    assert "sam" in ok(runtime, "user", "ls", **admin)
    made = json.loads(ok(runtime, "token", "create", "ci", "--user", "sam", "--days", "1", "--json", **admin))
    assert tokens.authenticate(runtime.db, made["token"]).name == "sam"
    ok(runtime, "token", "revoke", made["id"], **admin)
    states = {item["id"]: item["state"] for item in json.loads(ok(runtime, "token", "ls", "--json", **admin))}
    assert states[made["id"]] == "revoked"


def test_the_doctor_says_who_can_come_in(runtime: Runtime) -> None:
    users = {"SOFTVOTE_AUTH": "users", "SOFTVOTE_PUBLIC_URL": "http://softvote.example"}

    def finding(**environment: str) -> dict[str, object]:
        findings = json.loads(run(runtime, "doctor", "--json", **environment).stdout)["findings"]
        found: dict[str, object] = next(one for one in findings if one["subject"] == "access")
        return found

    assert finding()["ok"] is True
    assert "nobody logs in" in str(finding()["found"])
    nobody = finding(**users)
    assert (nobody["ok"], "softvote user create" in str(nobody["advice"])) == (False, True)
    People(runtime).add("ada", "admin")
    known = finding(**users)
    assert known["ok"] is True
    assert "1 can log in, 1 of them admins" in str(known["found"])
    assert "plain HTTP" in str(known["found"])
