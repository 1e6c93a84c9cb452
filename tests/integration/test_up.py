"""`softvote up`: one command, one Ctrl-C, nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import Deployment, deployment, processes_of


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path) as empty:
        yield empty
        for pid in processes_of(empty):
            os.kill(pid, signal.SIGKILL)


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def start(made: Deployment) -> str:
    address = free_address()
    made.start("up", "up", "--bind", address)
    made.wait(lambda: f"ready at http://{address}" in made.log("up"), "the address")
    return address


def test_everything_starts_is_restarted_when_it_dies_and_stops_on_ctrl_c(made: Deployment) -> None:
    address = start(made)
    with urllib.request.urlopen(f"http://{address}/healthz", timeout=5) as answer:
        assert answer.status == 200

    made.wait(lambda: made.log("up").count("worker_ready") == 1, "the worker")
    supervisor = made.processes["up"]
    groups = {os.getpgid(pid) for pid in processes_of(made)} - {supervisor.pid}
    worker = next(group for group in groups if "worker" in Path(f"/proc/{group}/cmdline").read_text().split("\0"))
    os.killpg(worker, signal.SIGKILL)
    made.wait(lambda: made.log("up").count("worker_ready") == 2, "another worker")
    assert '"event": "process_died"' in made.log("up")

    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(20) == 0
    assert processes_of(made) == []


def test_a_second_one_on_the_same_folder_is_refused(made: Deployment) -> None:
    start(made)
    second = made.start("second", "up", "--bind", free_address())
    assert second.wait(60) != 0
    assert "already_running" in made.log("second")
    assert made.processes["up"].poll() is None


def test_a_taken_address_is_named_at_once(made: Deployment) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        process = made.start("up", "up", "--bind", f"127.0.0.1:{server.getsockname()[1]}")
        assert process.wait(60) != 0
    assert "SOFTVOTE_BIND: a free address" in made.log("up")


def test_nothing_outlives_a_supervisor_that_was_killed(made: Deployment) -> None:
    start(made)
    made.wait(lambda: "worker_ready" in made.log("up"), "the worker")
    os.kill(made.processes["up"].pid, signal.SIGKILL)
    made.processes.pop("up").wait()
    made.wait(lambda: processes_of(made) == [], "the end of every process", timeout=25)
