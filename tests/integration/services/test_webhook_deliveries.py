"""Deliveries by any number of schedulers: each at least once, tried again, given up, on both databases."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update

from app.db.base import utc_now
from app.db.models import WebhookDelivery
from app.db.queries import webhooks as queries
from app.representations.webhooks import DeliveryDocument, WebhookEvent, WebhookRequest
from app.runtime import Runtime
from app.services.notifications import webhook_deliveries, webhooks
from app.services.notifications.webhook_deliveries import Outcome
from tests.catalogue import Catalogue
from tests.receiver import Receiver, receiver, status
from workers.deliveries import deliver, deliver_due


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.fixture
def runtime(catalogue: Catalogue) -> Runtime:
    settings = replace(catalogue.settings, webhook_allow_private=True, webhook_allow_http=True)
    return Runtime(settings, catalogue.db, catalogue.artifacts)


def add(runtime: Runtime, url: str) -> str:
    request = WebhookRequest(url=url, events=[WebhookEvent.GATE_FAILED])
    return webhooks.add(runtime.db, runtime.settings, request)[0]


def deliveries(runtime: Runtime, webhook_id: str) -> list[DeliveryDocument]:
    with runtime.db.read() as session:
        return queries.deliveries(session, webhook_id, cursor=None, limit=200).items


def come_due(runtime: Runtime) -> None:
    """Let the time pass that every pending delivery still waits."""
    with runtime.db.write() as session:
        session.execute(update(WebhookDelivery).values(due_at=utc_now() - dt.timedelta(seconds=1)))


def test_a_delivery_that_fails_is_tried_again_with_the_same_body_until_it_arrives(
    runtime: Runtime, here: Receiver
) -> None:
    here.answers = [status(500), status(200)]
    key = add(runtime, here.url)
    delivery_id = webhooks.ping(runtime.db, key)
    assert deliver_due(runtime) == 1
    (failed,) = deliveries(runtime, key)
    assert (failed.state, failed.attempts, failed.status, failed.error) == ("pending", 1, 500, "answered 500")
    assert failed.due_at is not None
    assert 9 < (failed.due_at - utc_now()).total_seconds() <= 10
    assert deliver_due(runtime) == 0

    come_due(runtime)
    assert deliver_due(runtime) == 1
    (arrived,) = deliveries(runtime, key)
    assert (arrived.id, arrived.state, arrived.attempts, arrived.status) == (delivery_id, "delivered", 2, 200)
    assert (arrived.error, arrived.due_at) == (None, None)
    first, second = here.requests
    assert first.body == second.body
    assert first.headers["Softvote-Delivery"] == second.headers["Softvote-Delivery"] == delivery_id
    come_due(runtime)
    assert deliver_due(runtime) == 0


def test_a_delivery_is_given_up_after_ten_attempts_in_more_than_a_day(runtime: Runtime, here: Receiver) -> None:
    here.answers = [status(503)]
    key = add(runtime, here.url)
    webhooks.ping(runtime.db, key)
    for _ in range(webhook_deliveries.MAX_ATTEMPTS):
        assert deliver_due(runtime) == 1
        come_due(runtime)
    assert deliver_due(runtime) == 0
    (dead,) = deliveries(runtime, key)
    assert (dead.state, dead.attempts, dead.status, len(here.requests)) == ("dead", 10, 503, 10)
    waits = [webhook_deliveries.back_off(attempt) for attempt in range(1, 10)]
    assert waits[:4] == [10, 30, 90, 270]
    assert 27 < sum(waits) / 3600 < 28


def test_several_schedulers_deliver_each_once(runtime: Runtime, here: Receiver) -> None:
    keys = [add(runtime, here.url) for _ in range(3)]
    written = {webhooks.ping(runtime.db, key) for key in keys for _ in range(10)}
    stopping = threading.Event()
    threads = [threading.Thread(target=deliver, args=(runtime, stopping)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(600):
        if len(here.requests) >= len(written):
            break
        stopping.wait(0.05)
    stopping.set()
    for thread in threads:
        thread.join()
    came = [request.headers["Softvote-Delivery"] for request in here.requests]
    assert sorted(came) == sorted(written)
    assert {one.state for key in keys for one in deliveries(runtime, key)} == {"delivered"}


def test_what_a_dead_scheduler_had_in_hand_comes_due_again_and_its_late_word_is_old(
    runtime: Runtime, here: Receiver
) -> None:
    key = add(runtime, here.url)
    webhooks.ping(runtime.db, key)
    (lost,) = webhook_deliveries.take(runtime.db, 10)
    assert webhook_deliveries.take(runtime.db, 10) == []
    (held,) = deliveries(runtime, key)
    assert held.due_at is not None
    assert (held.due_at - utc_now()).total_seconds() > 55

    come_due(runtime)
    (again,) = webhook_deliveries.take(runtime.db, 10)
    assert (again.id, again.number, again.body) == (lost.id, 2, lost.body)
    assert not webhook_deliveries.settle(runtime.db, lost, Outcome(status=500))
    assert webhook_deliveries.settle(runtime.db, again, Outcome(status=200))
    assert not webhook_deliveries.settle(runtime.db, again, Outcome(error="no connection"))
    assert [one.state for one in deliveries(runtime, key)] == ["delivered"]


def test_a_delivery_whose_last_attempt_vanished_is_given_up(runtime: Runtime, here: Receiver) -> None:
    key = add(runtime, here.url)
    webhooks.ping(runtime.db, key)
    for _ in range(webhook_deliveries.MAX_ATTEMPTS):
        assert len(webhook_deliveries.take(runtime.db, 10)) == 1
        come_due(runtime)
    assert webhook_deliveries.take(runtime.db, 10) == []
    assert [one.state for one in deliveries(runtime, key)] == ["dead"]


def test_a_webhook_with_a_long_queue_leaves_room_for_the_others(runtime: Runtime, here: Receiver) -> None:
    busy, other = add(runtime, here.url), add(runtime, here.url)
    for _ in range(20):
        webhooks.ping(runtime.db, busy)
    last = webhooks.ping(runtime.db, other)
    taken = webhook_deliveries.take(runtime.db, 16)
    assert len(taken) == 5
    assert last in {attempt.id for attempt in taken}


def test_a_removed_webhook_is_told_nothing_more(runtime: Runtime, here: Receiver) -> None:
    key = add(runtime, here.url)
    webhooks.ping(runtime.db, key)
    (attempt,) = webhook_deliveries.take(runtime.db, 10)
    webhooks.remove(runtime.db, key)
    assert not webhook_deliveries.settle(runtime.db, attempt, Outcome(status=200))
    assert webhook_deliveries.take(runtime.db, 10) == []


def test_deliveries_that_were_over_long_ago_are_forgotten(runtime: Runtime, here: Receiver) -> None:
    key = add(runtime, here.url)
    old, new, pending = (webhooks.ping(runtime.db, key) for _ in range(3))
    long_ago = utc_now() - dt.timedelta(days=31)
    with runtime.db.write() as session:
        for delivery_id, ended in ((old, long_ago), (new, utc_now())):
            one = update(WebhookDelivery).where(WebhookDelivery.id == delivery_id)
            session.execute(one.values(state="delivered", ended_at=ended))
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == pending).values(created_at=long_ago))
    assert webhook_deliveries.forget_old(runtime.db) == 1
    assert {one.id for one in deliveries(runtime, key)} == {new, pending}
