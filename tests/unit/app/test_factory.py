import dataclasses
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.errors import ConfigurationError
from app.factory import create_app, secret_key
from app.runtime import Runtime
from tests.app_builders import make_runtime


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def client(runtime: Runtime) -> FlaskClient:
    return create_app(runtime).test_client()


@pytest.mark.parametrize(
    "path", ["/", "/evaluations", "/nothing", "/api/docs", "/api/v1/checkpoints", "/healthz", "/assets/app.js"]
)
def test_every_answer_has_the_security_headers(client: FlaskClient, path: str) -> None:
    with client.get(path) as response:
        headers = response.headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "font-src": "'self'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
    }
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"


@pytest.mark.parametrize(
    "path", ["/api/v1/checkpoints", "/api/v1/nothing", "/api/v1/openapi.json", "/healthz", "/readyz"]
)
def test_nobody_keeps_a_copy_of_an_answer_of_the_api(client: FlaskClient, path: str) -> None:
    assert client.get(path).headers["Cache-Control"] == "no-store"


def test_the_api_sets_no_cookie_and_a_form_without_its_token_is_refused(client: FlaskClient) -> None:
    assert "Set-Cookie" not in client.get("/api/v1/checkpoints").headers
    response = client.post("/checkpoints/new", data={"name": "n", "path": "p"})
    assert response.status_code == 400
    assert "CSRF" in response.get_data(as_text=True)


def test_a_secret_key_is_made_once_and_only_its_owner_reads_it(runtime: Runtime) -> None:
    key = secret_key(runtime.settings)
    path = runtime.settings.home / "secret_key"
    assert (len(key), path.read_bytes()) == (32, key)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_key(runtime.settings) == key
    assert list(runtime.settings.home.glob(".secret_key*")) == []


def test_the_setting_goes_before_the_file(runtime: Runtime) -> None:
    settings = dataclasses.replace(runtime.settings, secret_key="s" * 32)
    assert secret_key(settings) == b"s" * 32
    assert not (runtime.settings.home / "secret_key").exists()


def test_processes_that_start_at_once_agree_on_one_key(runtime: Runtime) -> None:
    with ThreadPoolExecutor(16) as threads:
        assert len(set(threads.map(secret_key, [runtime.settings] * 64))) == 1


def test_a_key_that_was_cut_short_is_refused(runtime: Runtime) -> None:
    (runtime.settings.home / "secret_key").write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="at least 32 bytes"):
        secret_key(runtime.settings)


def test_the_web_process_imports_neither_torch_nor_celery(tmp_path: Path) -> None:
    make_runtime(tmp_path / "home").db.dispose()
    program = (
        "import sys, app.wsgi\n"
        "client = app.wsgi.application.test_client()\n"
        "assert client.get('/').status_code == client.get('/api/docs').status_code == 200\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    environment = {**os.environ, "SOFTVOTE_HOME": str(tmp_path / "home")}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert "flask" in modules
    assert modules.isdisjoint({"torch", "torchvision", "celery", "kombu", "redis", "workers"})
