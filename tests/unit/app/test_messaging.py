"""The doorbell: its settings, and that a broker which does not answer costs seconds and an error with a code."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from app.config import Settings
from app.messaging import QUEUES, WORK_TASK, BrokerUnavailableError, Doorbell, celery_settings, prepare_broker


def settings(tmp_path: Path, broker: str = "") -> Settings:
    return Settings.from_environment({"SOFTVOTE_HOME": str(tmp_path), "SOFTVOTE_BROKER_URL": broker})


@pytest.fixture
def frozen_broker() -> Iterator[str]:
    """Takes connections and never answers, like a stopped Redis."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def test_a_ring_lies_in_the_queues_folder_and_a_worker_reads_it(tmp_path: Path) -> None:
    embedded = settings(tmp_path)
    doorbell = Doorbell(embedded)
    doorbell.ring("predict")
    doorbell.ring("fuse")
    doorbell.close()
    names = sorted(path.name.split(".", 1)[1] for path in (tmp_path / "broker" / "messages").iterdir())
    assert names == ["fuse.msg", "predict.msg"]
    app = Celery(set_as_current=False)
    app.conf.update(celery_settings(embedded))
    with app.connection_for_read() as connection:
        message = connection.SimpleQueue(app.amqp.queues["predict"]).get(timeout=1)
        assert message.headers["task"] == WORK_TASK
        message.ack()
    app.close()


def test_a_worker_may_start_before_the_first_ring(tmp_path: Path) -> None:
    embedded = settings(tmp_path)
    prepare_broker(embedded)
    prepare_broker(embedded)
    assert (tmp_path / "broker" / "messages").is_dir()


@pytest.mark.parametrize("broker", ["redis://127.0.0.1:1/0", "rediss://127.0.0.1:1/0"])
def test_f13_a_broker_that_is_down_is_an_error_within_seconds(tmp_path: Path, broker: str) -> None:
    doorbell = Doorbell(settings(tmp_path, broker))
    start = time.monotonic()
    with pytest.raises(BrokerUnavailableError, match="the broker does not answer") as caught:
        doorbell.ring("predict")
    assert time.monotonic() - start < 8
    assert caught.value.code == "broker_unavailable"


def test_f15_a_broker_that_is_frozen_is_an_error_within_seconds(tmp_path: Path, frozen_broker: str) -> None:
    doorbell = Doorbell(settings(tmp_path, frozen_broker))
    for _ in range(2):
        start = time.monotonic()
        with pytest.raises(BrokerUnavailableError):
            doorbell.ring("fuse")
        assert time.monotonic() - start < 12
    doorbell.close()


def test_an_unknown_queue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokerUnavailableError):
        Doorbell(settings(tmp_path)).ring("celery")
    assert list((tmp_path / "broker" / "messages").iterdir()) == []


def test_nothing_depends_on_a_message() -> None:
    chosen = celery_settings(settings(Path("/nowhere"), "redis://127.0.0.1/0"))
    assert chosen["result_backend"] is None
    assert chosen["task_acks_late"] is False
    assert chosen["accept_content"] == ["json"]
    assert chosen["worker_disable_prefetch"] is True
    assert chosen["broker_connection_max_retries"] is None
    assert chosen["worker_cancel_long_running_tasks_on_connection_loss"] is False
    assert set(chosen["task_queues"]) == set(QUEUES)


def test_names_and_settings_come_without_celery() -> None:
    program = "import sys, app.messaging; sys.exit('celery' in sys.modules or 'kombu' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
