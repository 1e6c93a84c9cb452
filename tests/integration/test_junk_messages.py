"""Whoever reaches the broker can make a worker look for work, and nothing else: no message ends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import redis

from app.messaging import WORK_TASK
from tests.integration.harness import REDIS, Deployment, deployment

Push = Callable[[bytes], object]

#: No JSON, JSON that is no message, messages that lack something or hold what does not belong there.
JUNK = [
    b"",
    b"{",
    b"\xff\xfe",
    b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
    b"null",
    b"[]",
    b'"a word"',
    b"{}",
    b'{"body": 7, "properties": []}',
    json.dumps({"body": "%%%", "properties": {"delivery_tag": "1", "body_encoding": "base64"}}).encode(),
    json.dumps({"body": "W10=", "headers": 3, "properties": {"delivery_tag": "2", "delivery_info": {}}}).encode(),
]


def message(task: str, content_type: str = "application/json", body: str = "W1tdLCB7fSwge31d") -> bytes:
    """A whole message, as Celery writes it."""
    return json.dumps(
        {
            "body": body,
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": {"lang": "py", "task": task, "id": "1" * 36, "root_id": "1" * 36, "retries": 0},
            "properties": {
                "correlation_id": "1" * 36,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "fuse"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "1" * 36,
            },
        }
    ).encode()


FORGED = [
    message("os.system"),
    message(WORK_TASK, content_type="application/x-python-serialize"),
    message(WORK_TASK, body="W1sidG91Y2giXSwge30sIHt9XQ=="),  # an argument; the task takes none
    message(WORK_TASK, body="e30="),
    message(WORK_TASK)[:90],
]


@pytest.fixture(params=["folder", pytest.param("redis", marks=pytest.mark.services)])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Deployment, Push]]:
    """A deployment, and how to push into the queue "fuse" of its broker."""
    with deployment(tmp_path, services=request.param == "redis") as made:
        if request.param == "redis":
            with redis.Redis.from_url(REDIS) as client:
                yield made, partial(client.lpush, "softvote:fuse")
            return
        folder = made.home / "broker" / "messages"
        folder.mkdir(parents=True, exist_ok=True)
        names = (folder / f"{number:04d}_junk.fuse.msg" for number in range(1000))

        def write(data: bytes) -> None:
            next(names).write_bytes(data)

        yield made, write


def test_f17_no_message_ends_a_worker_or_runs_anything_but_the_one_task(served: tuple[Deployment, Push]) -> None:
    made, push = served
    made.add_images(count=3)
    made.add_checkpoint("a")
    worker = made.start_worker()
    made.wait(lambda: "worker_ready" in made.log("worker"), "start of the worker")
    for data in (*JUNK, *FORGED):
        push(data)
    made.wait(lambda: made.log("worker").count("message_unreadable") >= len(JUNK) - 1, "junk to be thrown away", 40)

    made.start("scheduler", "scheduler")
    assert made.wait_until_ended(made.submit(["a"]), timeout=40).status == "succeeded"
    assert worker.poll() is None
