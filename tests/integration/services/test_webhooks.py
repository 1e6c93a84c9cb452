"""Webhooks are told of what happened in the transaction in which it does, on both databases."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from app.db.models import Webhook, WebhookDelivery
from app.db.session import Database
from app.errors import InvalidRequestError, NotFoundError
from app.representations.base import ErrorInfo
from app.representations.webhooks import WebhookEvent, WebhookRequest
from app.services import evaluations
from app.services.leasing import leases
from app.services.notifications import webhooks
from tests.catalogue import Catalogue

URL = "https://ci.example.org/softvote"
#: Any document will do.
HAPPENED = ErrorInfo(code="moved", message="3 images")
DENSE = {"scales": [32], "modes": ["dense"]}


def add(catalogue: Catalogue, *events: str, url: str = URL) -> str:
    request = WebhookRequest(url=url, events=[WebhookEvent(event) for event in events])
    return webhooks.add(catalogue.db, catalogue.settings, request)[0]


def told(db: Database, webhook_id: str) -> list[dict[str, Any]]:
    """The bodies that were written down for a webhook, oldest first."""
    with db.read() as session:
        rows = session.scalars(
            select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id).order_by(WebhookDelivery.id)
        ).all()
    bodies = [json.loads(row.body) for row in rows]
    assert [(body["delivery"], body["event"]) for body in bodies] == [(row.id, row.event) for row in rows]
    return bodies


def test_a_finished_evaluation_is_told_with_its_final_scores(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    listener, other = add(catalogue, "evaluation.finished"), add(catalogue, "evaluation.failed", "gate.fail")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    catalogue.predict_all(catalogue.worker())
    lease = leases.lease_item(catalogue.db, catalogue.worker(), ["fuse"])
    assert lease is not None
    scores = [catalogue.score(0.3), catalogue.score(0.25, position=1), catalogue.score(0.5, position=1, metric="nll")]
    assert told(catalogue.db, listener) == []
    evaluations.succeed(catalogue.db, lease, scores, {})

    (body,) = told(catalogue.db, listener)
    assert body["event"] == "evaluation.finished"
    data = body["data"]
    assert (data["id"], data["status"], data["dataset"]) == (evaluation_id, "succeeded", "digits")
    assert (data["checkpoints"], data["images"], data["error"]) == (["a"], 100, None)
    assert [(one["metric"], one["value"]) for one in data["scores"]] == [("top1_error", 0.25), ("nll", 0.5)]
    assert data["links"]["self"] == f"/api/v1/evaluations/{evaluation_id}"
    assert told(catalogue.db, other) == []


def test_an_evaluation_that_fails_while_it_predicts_is_told_with_its_error(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    listener = add(catalogue, "evaluation.failed")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    unreadable = [{"index": 0, "image_id": "c1/first.png", "reason": "truncated"}]
    catalogue.complete(worker, catalogue.lease(worker), unreadable)
    assert evaluations.advance_ready(catalogue.db) == [evaluation_id]
    assert evaluations.advance_ready(catalogue.db) == []
    (body,) = told(catalogue.db, listener)
    assert (body["data"]["id"], body["data"]["status"]) == (evaluation_id, "failed")
    assert (body["data"]["error"]["code"], body["data"]["scores"]) == ("unreadable_image", [])


def test_an_evaluation_that_fails_while_it_is_fused_is_told_too(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    listener = add(catalogue, "evaluation.failed")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    lease = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert lease is not None
    leases.fail_item(catalogue.db, lease, "nothing_to_score", "every image is excluded", retryable=False)
    (body,) = told(catalogue.db, listener)
    assert (body["data"]["id"], body["data"]["error"]["code"]) == (evaluation_id, "nothing_to_score")


def test_what_is_rolled_back_is_told_to_nobody(catalogue: Catalogue) -> None:
    listener = add(catalogue, "schedule.drift")

    def happen() -> None:
        with catalogue.db.write() as session:
            assert webhooks.enqueue(session, "schedule.drift", HAPPENED) == 1
            session.flush()
            raise RuntimeError("after all not")

    with pytest.raises(RuntimeError, match="after all"):
        happen()
    assert told(catalogue.db, listener) == []
    with catalogue.db.write() as session:
        assert webhooks.enqueue(session, "schedule.regression", HAPPENED) == 0


def test_an_event_that_nobody_knows_is_a_mistake_of_the_caller(catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match=r"evaluation\.exploded"), catalogue.db.write() as session:
        webhooks.enqueue(session, "evaluation.exploded", HAPPENED)


def test_a_removed_webhook_takes_its_deliveries_along(catalogue: Catalogue) -> None:
    gone, kept = add(catalogue, "gate.fail"), add(catalogue, "gate.fail")
    webhooks.ping(catalogue.db, gone)
    webhooks.ping(catalogue.db, kept)
    webhooks.remove(catalogue.db, gone)
    with catalogue.db.read() as session:
        assert session.scalars(select(Webhook.id)).all() == [kept]
        assert session.scalars(select(WebhookDelivery.webhook_id)).all() == [kept]
    for use in (webhooks.remove, webhooks.ping):
        with pytest.raises(NotFoundError):
            use(catalogue.db, gone)


def test_webhooks_that_are_removed_while_events_happen_break_no_transaction(catalogue: Catalogue) -> None:
    ids = [add(catalogue, "gate.pass") for _ in range(20)]
    failures: list[BaseException] = []

    def happen() -> None:
        try:
            for _ in range(20):
                with catalogue.db.write() as session:
                    webhooks.enqueue(session, "gate.pass", HAPPENED)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=happen) for _ in range(2)]
    for thread in threads:
        thread.start()
    for webhook_id in ids:
        webhooks.remove(catalogue.db, webhook_id)
    for thread in threads:
        thread.join()
    assert failures == []
    with catalogue.db.read() as session:
        assert session.scalar(select(func.count()).select_from(WebhookDelivery)) == 0


def test_an_address_inside_is_refused_unless_it_is_allowed(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidRequestError, match="SOFTVOTE_WEBHOOK_ALLOW_PRIVATE"):
        add(catalogue, "gate.fail", url="https://127.0.0.1/hook")
    with pytest.raises(InvalidRequestError, match="https://HOST/PATH"):
        add(catalogue, "gate.fail", url="http://ci.example.org/hook")
