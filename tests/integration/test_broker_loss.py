"""Redis dies, without having written anything to disk, and comes back empty: nothing is lost but a few seconds."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.harness import deployment
from tests.nemesis.servers import RedisServer

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs the program redis-server, to kill it"),
]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """One that keeps nothing and is not started yet."""
    server = RedisServer()
    yield server
    server.kill()


def test_f13_f14_work_goes_on_without_redis_and_new_work_begins_when_it_is_back(
    server: RedisServer, tmp_path: Path
) -> None:
    with deployment(tmp_path, broker_url=server.url) as made:
        made.add_images(count=60)
        made.add_checkpoint("a")
        server.start()
        made.start("scheduler", "scheduler")
        made.start_worker()
        running = made.submit(["a"])
        made.wait(lambda: bool(made.events("part_leased")), "the first lease")
        server.kill()
        # The worker hears no bells, and needs none for what it is at.
        assert made.wait_until_ended(running).status == "succeeded"

        waiting = made.submit(["a"], force=True)
        seconds = []
        for _ in range(100):
            began = time.monotonic()
            made.submit(["a"])
            seconds.append(time.monotonic() - began)
        assert sorted(seconds)[98] < 0.3
        made.wait(lambda: "scheduler_waits" in made.log("scheduler"), "the scheduler to notice")
        assert made.evaluation(waiting).status == "queued"

        server.start()
        assert made.wait_until_ended(waiting).status == "succeeded"
