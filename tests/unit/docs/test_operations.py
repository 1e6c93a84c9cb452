"""docs/operations.md names metrics, tests and phrases as they are."""

from __future__ import annotations

import re
from pathlib import Path

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app.factory import create_app
from tests.app_builders import Service, make_runtime

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def test_the_metrics_on_the_page_are_those_that_are_answered(tmp_path: Path) -> None:
    runtime = make_runtime(tmp_path / "home")
    Service(runtime).add_worker()
    client: FlaskClient = create_app(runtime).test_client()
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(client.get("/metrics").text)
    }
    runtime.db.dispose()
    assert set(re.findall(r"^\| `(softvote_\w+)` \|", PAGE, re.MULTILINE)) == families
    assert set(re.findall(r"\bsoftvote_\w+\b", PAGE)) <= families


def test_every_file_that_shows_a_promise_exists() -> None:
    named = set(re.findall(r"`((?:tests|app|benchmarks)/[\w/.]+)`", PAGE))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_command_on_the_page_is_one() -> None:
    from app.cli.main import main

    used = set(re.findall(r"`softvote ([a-z]+)", PAGE))
    assert {"web", "worker", "scheduler", "migrate", "doctor", "up"} <= used
    assert used <= set(main.commands)
