"""A broker that may forget: `softvote doctor` says so before it costs Celery its queues."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main
from tests.nemesis.servers import RedisServer


@pytest.mark.services
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs the program redis-server")
@pytest.mark.parametrize(("policy", "accused"), [("allkeys-lru", True), ("noeviction", False)])
def test_f19_a_redis_that_evicts_is_named_by_the_doctor(tmp_path: Path, policy: str, accused: bool) -> None:
    server = RedisServer("--maxmemory", "2mb", "--maxmemory-policy", policy)
    server.start()
    try:
        environment = {"SOFTVOTE_HOME": str(tmp_path / "home"), "SOFTVOTE_BROKER_URL": server.url}
        output = CliRunner().invoke(main, ["doctor"], env=environment).stdout
    finally:
        server.kill()
    (line,) = [line for line in output.splitlines() if line[5:].startswith("broker ")]
    assert policy in line
    assert line.startswith("FAIL") == accused
    assert ("maxmemory-policy noeviction" in output) == accused
