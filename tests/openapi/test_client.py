"""The document is good enough for others' tools: a generated client has every operation, and works."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.factory import create_app
from app.runtime import Runtime
from tests.app_builders import Service, make_runtime
from tests.openapi.golden import GOLDEN

CONFIG = GOLDEN.with_name("openapi-python-client.yaml")
PACKAGE = "softvote_api"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path_factory.mktemp("service") / "home")
    yield runtime
    runtime.db.dispose()


@pytest.fixture(scope="module")
def document(runtime: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = create_app(runtime).api_doc
    return found


@pytest.fixture(scope="module")
def generated(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is generated; a warning fails."""
    folder = tmp_path_factory.mktemp("generated")
    source = folder / "openapi.json"
    source.write_text(json.dumps(document))
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning", "--meta", "none"]
    files = ["--path", str(source), "--config", str(CONFIG), "--output-path", str(folder / PACKAGE)]
    run = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "warning" not in (run.stdout + run.stderr).lower()
    return folder / PACKAGE


def test_a_client_is_generated_without_a_warning_and_has_every_operation(
    document: dict[str, Any], generated: Path
) -> None:
    operations = {one["operationId"] for methods in document["paths"].values() for one in methods.values()}
    modules = {path.stem for path in (generated / "api").rglob("*.py")} - {"__init__"}
    assert modules == operations


def test_the_generated_client_submits_follows_and_meets_errors(
    runtime: Runtime, generated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(runtime)
    service.add_dataset("digits")
    service.add_checkpoint("one")
    monkeypatch.syspath_prepend(str(generated.parent))
    load = importlib.import_module
    client = load(f"{PACKAGE}.client").Client(
        base_url="http://localhost", httpx_args={"transport": httpx.WSGITransport(app=create_app(runtime))}
    )
    models = load(f"{PACKAGE}.models")
    body = models.EvaluationRequest(dataset="digits", checkpoints=["one"], protocol="center-crop", limit=4)
    made = load(f"{PACKAGE}.api.evaluations.submit_evaluation").sync(client=client, body=body, idempotency_key="a-key")
    assert (type(made), made.images) == (models.EvaluationDocument, 4)
    assert load(f"{PACKAGE}.api.evaluations.get_evaluation").sync(made.id, client=client) == made
    page = load(f"{PACKAGE}.api.evaluations.list_evaluations").sync(
        client=client, status=models.EvaluationStatus.QUEUED
    )
    assert [item.id for item in page.items] == [made.id]
    known = load(f"{PACKAGE}.api.estimates.estimate_evaluation").sync(client=client, body=body)
    assert (known.images, known.image_views_done) == (4, 0)
    missing = load(f"{PACKAGE}.api.evaluations.get_evaluation").sync("none", client=client)
    assert (type(missing), missing.code) == (models.ProblemDocument, "not_found")
    badge = load(f"{PACKAGE}.api.badges.get_badge").sync(made.id, client=client)
    assert badge.startswith("<svg")
    client.get_httpx_client().close()
