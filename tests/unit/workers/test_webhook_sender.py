"""Deliveries to a real HTTP server: what is sent, where it may go, and what comes of each way to answer."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.services.notifications.webhook_deliveries import Attempt, Outcome
from tests.receiver import Receiver, receiver, status
from workers import webhook_sender

SECRET = "whsec_the-secret-of-this-test"
ALLOWED = {"SOFTVOTE_WEBHOOK_ALLOW_PRIVATE": "1", "SOFTVOTE_WEBHOOK_ALLOW_HTTP": "1"}
ROOT = Path(__file__).parents[3]


def attempt(url: str) -> Attempt:
    return Attempt("0" * 24, 1, url, SECRET, "gate.fail", json.dumps({"delivery": "0" * 24, "data": {"ü": 1}}))


def send(url: str, **environment: str) -> Outcome:
    (outcome,) = webhook_sender.send_all([attempt(url)], Settings.from_environment(environment or ALLOWED))
    return outcome


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that resolve to what a test says, one answer a look-up; the last stays."""
    known: dict[str, list[str]] = {}
    really = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in known:
            return really(host, port, *args, **kwargs)
        answers = known[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return [entry for one in answer.split() for entry in really(one, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return known


def test_a_delivery_says_what_it_is_and_its_signature_is_checked_by_the_documented_code(here: Receiver) -> None:
    assert send(here.url) == Outcome(status=200)
    (request,) = here.requests
    assert request.path == "/hook"
    assert request.headers["Host"] == f"127.0.0.1:{here.port}"
    assert request.headers["Content-Type"] == "application/json"
    assert (request.headers["Softvote-Event"], request.headers["Softvote-Delivery"]) == ("gate.fail", "0" * 24)
    assert request.headers["User-Agent"].startswith("softvote/")

    page = (ROOT / "docs/webhooks.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    documented: dict[str, Any] = {}
    exec(code, documented)  # noqa: S102 - what readers are told to run
    is_genuine, header = documented["is_genuine"], request.headers["Softvote-Signature"]
    assert is_genuine(SECRET, header, request.body)
    assert not is_genuine(SECRET, header, request.body + b" ")
    assert not is_genuine(SECRET + "x", header, request.body)
    assert not is_genuine(SECRET, header.replace("t=", "t=1"), request.body)
    assert not is_genuine(SECRET, header, request.body, now=time.time() + 301)
    assert not is_genuine(SECRET, "", request.body)


@pytest.mark.parametrize("code", [200, 201, 204, 299])
def test_every_answer_of_the_two_hundreds_is_a_delivery(here: Receiver, code: int) -> None:
    here.answers = [status(code)]
    assert send(here.url).delivered


@pytest.mark.parametrize("code", [400, 404, 410, 429, 500, 503])
def test_every_other_answer_is_none_and_its_body_is_not_kept(here: Receiver, code: int) -> None:
    here.answers = [status(code)]
    outcome = send(here.url)
    assert not outcome.delivered
    assert outcome == Outcome(status=code)


def test_a_redirect_is_not_followed(here: Receiver) -> None:
    here.answers = [status(307, Location=f"{here.url}/elsewhere")]
    assert send(here.url) == Outcome(status=307)
    assert len(here.requests) == 1


def test_a_receiver_that_drips_is_left_at_the_deadline(here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "TIMEOUT_SECONDS", 1.0)
    over = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 1000:
            handler.wfile.write(bytes([byte]))
            if over.wait(0.1):
                return

    here.answers = [drip]
    began = time.monotonic()
    assert send(here.url) == Outcome(error="no answer within 1 seconds")
    assert time.monotonic() - began < 3
    over.set()


def test_an_endless_body_is_not_waited_for(here: Receiver) -> None:
    over = threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not over.wait(0.01):
            handler.wfile.write(b"x" * 1000)

    here.answers = [endless]
    began = time.monotonic()
    assert send(here.url) == Outcome(status=200)
    assert time.monotonic() - began < 3
    over.set()


def test_what_is_no_http_is_an_outcome_in_our_words(here: Receiver) -> None:
    here.answers = [lambda handler: handler.wfile.write(b"SSH-2.0-secret\r\n\r\n") and None]
    outcome = send(here.url)
    assert outcome.status is None
    assert "secret" not in str(outcome.error)
    assert str(outcome.error).startswith("no HTTP answer")


def test_nobody_there_is_an_outcome() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        assert send(f"http://127.0.0.1:{reserved.getsockname()[1]}/") == Outcome(error="no connection")


def test_one_that_hangs_does_not_hold_up_the_others(here: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_sender, "TIMEOUT_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        urls = [f"http://127.0.0.1:{deaf.getsockname()[1]}/", here.url]
        began = time.monotonic()
        outcomes = webhook_sender.send_all([attempt(url) for url in urls], Settings.from_environment(ALLOWED))
    assert [outcome.delivered for outcome in outcomes] == [False, True]
    assert time.monotonic() - began < 3


def test_it_sends_where_the_callers_thread_runs_a_loop_already(here: Receiver) -> None:
    async def caller() -> Outcome:
        return send(here.url)

    # Not in this thread: a browser test before this one may have left a loop that runs here.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lambda: asyncio.run(caller())).result() == Outcome(status=200)


@pytest.mark.parametrize(
    "answer",
    ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "8.8.8.8 127.0.0.1"],
)
def test_a_name_that_leads_inside_is_not_called(here: Receiver, names: dict[str, list[str]], answer: str) -> None:
    names["ci.example.test"] = [answer]
    outcome = send(f"http://ci.example.test:{here.port}/", SOFTVOTE_WEBHOOK_ALLOW_HTTP="1")
    assert outcome == Outcome(error="the name leads to an address that is not public")
    assert here.requests == []


def test_a_name_is_resolved_once_so_that_a_second_answer_changes_nothing(
    here: Receiver, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer is public and nobody is there; the second would be this machine."""
    monkeypatch.setattr(webhook_sender, "TIMEOUT_SECONDS", 1.0)
    # 203.0.113.0/24 is for documentation, and so nobody's: what is public for this test.
    monkeypatch.setattr(webhook_sender, "is_public", lambda address: str(address) == "203.0.113.1")
    names["ci.example.test"] = ["203.0.113.1", "127.0.0.1"]
    outcome = send(f"http://ci.example.test:{here.port}/", SOFTVOTE_WEBHOOK_ALLOW_HTTP="1")
    assert outcome.status is None
    assert here.requests == []
    assert names["ci.example.test"] == ["127.0.0.1"]


def test_what_was_allowed_once_is_refused_when_settings_have_changed(here: Receiver) -> None:
    for environment in ({"SOFTVOTE_WEBHOOK_ALLOW_PRIVATE": "1"}, {"SOFTVOTE_WEBHOOK_ALLOW_HTTP": "1"}):
        assert send(here.url, **environment) == Outcome(error="the address may not be called")
    assert here.requests == []


def test_an_address_that_does_not_answer_is_followed_by_the_next(here: Receiver, names: dict[str, list[str]]) -> None:
    names["ci.example.test"] = ["::1 127.0.0.1"]
    assert send(f"http://ci.example.test:{here.port}/hook").delivered
    assert here.requests[0].headers["Host"] == f"ci.example.test:{here.port}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority, and a certificate of it for ci.example.test."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    made = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(*made, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test authority")
    names = ("-addext", "subjectAltName=DNS:ci.example.test", "-addext", "basicConstraints=critical,CA:FALSE")
    own = ("-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=ci.example.test", *names)
    openssl(*made, "-keyout", "server.key", "-out", "server.pem", *own)
    return folder


def test_tls_holds_the_certificate_against_the_name_and_not_the_address(
    authority: Path, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(authority / "server.pem", authority / "server.key")
    asked: list[str | None] = []
    tls.sni_callback = lambda _socket, name, _context: asked.append(name)
    names["ci.example.test"] = names["other.example.test"] = ["127.0.0.1"]
    with receiver(tls) as here:
        assert send(f"https://ci.example.test:{here.port}/hook").delivered
        refused = send(f"https://other.example.test:{here.port}/hook")
        monkeypatch.delenv("SSL_CERT_FILE")
        unknown = send(f"https://ci.example.test:{here.port}/hook")
    assert asked[:2] == ["ci.example.test", "other.example.test"]
    assert [request.headers["Host"] for request in here.requests] == [f"ci.example.test:{here.port}"]
    assert "other.example.test" in str(refused.error)
    assert str(unknown.error).startswith("the certificate is not valid: ")
