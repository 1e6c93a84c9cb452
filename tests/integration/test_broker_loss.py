"""Redis dies, without having written anything to disk, and comes back empty: nothing is lost but a few seconds."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.harness import deployment

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs the program redis-server, to kill it"),
]


@contextmanager
def redis_server(port: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A Redis of its own that keeps nothing."""
    options = ["--port", str(port), "--save", "", "--appendonly", "no", "--dir", str(folder), "--bind", "127.0.0.1"]
    server = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


def test_f13_f14_work_goes_on_without_redis_and_new_work_begins_when_it_is_back(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with deployment(tmp_path, broker_url=f"redis://127.0.0.1:{port}/0") as made:
        made.add_images(count=60)
        made.add_checkpoint("a")
        with redis_server(port, tmp_path):
            made.start("scheduler", "scheduler")
            made.start_worker()
            running = made.submit(["a"])
            made.wait(lambda: bool(made.events("part_leased")), "the first lease")
        # Killed: the worker hears no bells, and needs none for what it is at.
        assert made.wait_until_ended(running).status == "succeeded"

        began = time.monotonic()
        waiting = made.submit(["a"], force=True)
        assert time.monotonic() - began < 2
        made.wait(lambda: "scheduler_waits" in made.log("scheduler"), "the scheduler to notice")
        assert made.evaluation(waiting).status == "queued"

        with redis_server(port, tmp_path):
            assert made.wait_until_ended(waiting).status == "succeeded"
