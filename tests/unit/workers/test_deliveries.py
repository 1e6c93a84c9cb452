"""The scheduler delivers webhooks, and goes on when something about it breaks."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from app.representations.webhooks import WebhookEvent, WebhookRequest
from app.runtime import Runtime
from app.services.notifications import webhooks
from tests.receiver import receiver
from workers import deliveries
from workers.scheduler import run_scheduler
from workers.webhook_sender import send_all


@pytest.fixture
def open_runtime(runtime: Runtime) -> Runtime:
    return replace(runtime, settings=replace(runtime.settings, webhook_allow_private=True, webhook_allow_http=True))


def ping(runtime: Runtime, url: str) -> str:
    request = WebhookRequest(url=url, events=[WebhookEvent.GATE_FAILED])
    return webhooks.ping(runtime.db, webhooks.add(runtime.db, runtime.settings, request)[0])


def test_a_scheduler_delivers_what_was_written_down(open_runtime: Runtime) -> None:
    stopping = threading.Event()
    with receiver() as here:
        delivery_id = ping(open_runtime, here.url)
        thread = threading.Thread(target=run_scheduler, args=(open_runtime, stopping))
        thread.start()
        deadline = time.monotonic() + 20
        while not here.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        stopping.set()
        thread.join(20)
    assert [request.headers["Softvote-Delivery"] for request in here.requests] == [delivery_id]


def test_what_breaks_in_one_round_is_no_end(open_runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = []

    def break_once(*arguments: object) -> object:
        if not broken:
            broken.append(arguments)
            raise RuntimeError("provoked")
        return send_all(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(deliveries, "send_all", break_once)
    monkeypatch.setattr(deliveries, "BROKEN_SECONDS", 0.0)
    stopping = threading.Event()
    with receiver() as here:
        ping(open_runtime, here.url)
        thread = threading.Thread(target=deliveries.deliver, args=(open_runtime, stopping))
        thread.start()
        deadline = time.monotonic() + 20
        while not broken and time.monotonic() < deadline:
            time.sleep(0.02)
        second = ping(open_runtime, here.url)
        while not here.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        stopping.set()
        thread.join(20)
    # What was in hand when it broke comes due again in a minute.
    assert [request.headers["Softvote-Delivery"] for request in here.requests] == [second]
