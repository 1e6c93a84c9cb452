"""A broker that may forget: `softvote doctor` says so before it costs Celery its queues."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import main


@pytest.mark.services
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs the program redis-server")
@pytest.mark.parametrize(("policy", "accused"), [("allkeys-lru", True), ("noeviction", False)])
def test_f19_a_redis_that_evicts_is_named_by_the_doctor(tmp_path: Path, policy: str, accused: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    memory = ["--maxmemory", "2mb", "--maxmemory-policy", policy]
    server = subprocess.Popen(["redis-server", *options, *memory], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        environment = {"SOFTVOTE_HOME": str(tmp_path / "home"), "SOFTVOTE_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
        output = CliRunner().invoke(main, ["doctor"], env=environment).stdout
    finally:
        server.kill()
        server.wait()
    (line,) = [line for line in output.splitlines() if line[5:].startswith("broker ")]
    assert policy in line
    assert line.startswith("FAIL") == accused
    assert ("maxmemory-policy noeviction" in output) == accused
