"""How long work stands still after its worker is gone: what docs/operations.md promises, measured."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.db.models import LeaseState, PredictionPart, Worker
from tests.integration.harness import Deployment, deployment

WORKERS = ("first", "second")
#: Crops of many images: a slice that takes long enough to be struck in the middle.
LONG = {"scales": [40, 48, 56, 64], "modes": ["crops"], "crop_grid": 9}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    """Two workers on the default lease; what there is to do is in the hands of one of them."""
    with deployment(tmp_path) as deployed:
        deployed.add_images(count=128)
        deployed.add_checkpoint("a")
        deployed.start("scheduler", "scheduler")
        for name in WORKERS:
            deployed.start(name, "worker", "--name", name, "--threads", "1", "--slice-seconds", "3600")
        deployed.wait(lambda: all("worker_ready" in deployed.log(name) for name in WORKERS), "both workers")
        deployed.submit(["a"], protocol=LONG)
        deployed.wait(lambda: holder(deployed) is not None, "the first lease")
        yield deployed


def holder(made: Deployment) -> tuple[str, str] | None:
    """Id and name of the worker process that holds a part."""
    with made.runtime.db.read() as session:
        held = select(Worker.id, Worker.name).join(PredictionPart, PredictionPart.worker_id == Worker.id)
        row = session.execute(held.where(PredictionPart.state == LeaseState.LEASED)).first()
        return None if row is None else (row.id, row.name)


def seconds_to_recover(made: Deployment, strike: Callable[[str], object]) -> float:
    """From a strike at the worker that holds everything until another process holds it."""
    struck = holder(made)
    assert struck is not None
    began = time.monotonic()
    strike(struck[1])
    made.wait(lambda: holder(made) not in (None, struck), "another holder", timeout=90)
    return time.monotonic() - began


def kill_child(made: Deployment, name: str) -> None:
    pid = made.processes[name].pid
    os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]), signal.SIGKILL)


@pytest.mark.slow
def test_f01_work_goes_on_within_ten_seconds_of_a_killed_pool_child(made: Deployment) -> None:
    seconds = seconds_to_recover(made, lambda name: kill_child(made, name))
    print(f"recovery after kill -9 of a pool child: {seconds:.1f} s")
    assert seconds <= 10


@pytest.mark.slow
def test_f02_work_goes_on_within_ten_seconds_of_a_killed_worker(made: Deployment) -> None:
    seconds = seconds_to_recover(made, made.kill)
    print(f"recovery after kill -9 of a worker and its child: {seconds:.1f} s")
    assert seconds <= 10


@pytest.mark.slow
@pytest.mark.services  # for its 35 seconds, not for a server
def test_f02_work_goes_on_within_thirty_five_seconds_of_a_lost_host(made: Deployment) -> None:
    """Nobody can look for the process of another host; its row is made to say that this one was on such."""
    with made.runtime.db.write() as session:
        session.execute(update(Worker).values(host="elsewhere", boot_id="another"))
    seconds = seconds_to_recover(made, made.kill)
    print(f"recovery after the loss of a host: {seconds:.1f} s")
    assert 20 < seconds <= 35
