"""Webhooks in a real Chromium: both widths, both themes, and a delivery that arrives while one looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from playwright.sync_api import Browser, expect

from app.db.models import WebhookDelivery
from app.representations.webhooks import WebhookEvent, WebhookRequest
from app.runtime import Runtime
from app.services.notifications import webhook_deliveries, webhooks
from app.services.notifications.webhook_deliveries import Outcome
from tests.app_builders import make_runtime
from tests.e2e.chromium import DESKTOP, PHONE, serving, visiting
from tests.receiver import Receiver, receiver
from workers.deliveries import deliver_due

pytestmark = pytest.mark.browser


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    made = make_runtime(tmp_path_factory.mktemp("webhooks") / "home")
    yield replace(made, settings=replace(made.settings, webhook_allow_private=True, webhook_allow_http=True))
    made.db.dispose()


@pytest.fixture
def here() -> Iterator[Receiver]:
    with receiver() as made:
        yield made


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_webhooks_are_clean_at_both_widths_and_in_both_themes(
    chromium: Browser, runtime: Runtime, size: tuple[int, int], theme: str
) -> None:
    urls = ("https://ci.example.org/softvote", "https://chat.example.org/hooks/" + "a1b2c3d4" * 20)
    keys = []
    for url in urls:
        request = WebhookRequest(
            url=url, events=[WebhookEvent.EVALUATION_FINISHED, WebhookEvent.GATE_FAILED], note="CI"
        )
        keys.append(webhooks.add(runtime.db, runtime.settings, request)[0])
    outcomes = [Outcome(status=200), Outcome(status=503), Outcome(error="no answer within 5 seconds")]
    for outcome in outcomes:
        webhooks.ping(runtime.db, keys[0])
        (attempt,) = webhook_deliveries.take(runtime.db, 1)
        webhook_deliveries.settle(runtime.db, attempt, outcome)
    webhooks.ping(runtime.db, keys[0])
    given_up = webhook_deliveries.take(runtime.db, 1)[0]
    with runtime.db.write() as session:
        row = session.get_one(WebhookDelivery, given_up.id)
        row.state, row.attempts, row.status = "dead", 10, 404
    pages = {"webhooks": "/webhooks", "webhook": f"/webhooks/{keys[0]}", "webhook-quiet": f"/webhooks/{keys[1]}"}
    pages["webhook-form"] = "/webhooks/new"
    with serving(runtime) as address, visiting(chromium, address, size=size, theme=theme) as visit:
        faults = {}
        for name, path in pages.items():
            visit.open(path)
            if found := visit.faults(name):
                faults[name] = found
        page = visit.open("/webhooks/new")
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("alert")).to_contain_text("2 things to mend")
        if found := visit.faults("webhook-form-problems", expected="422"):
            faults["problems"] = found
        page.get_by_label("Address").fill("https://ci.example.org/other")
        page.get_by_label("gate.fail").check()
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("main")).to_contain_text("whsec_")
        if found := visit.faults("webhook-secret"):
            faults["secret"] = found
        assert faults == {}
        assert visit.strangers() == set()


def test_a_ping_is_seen_to_arrive(chromium: Browser, runtime: Runtime, here: Receiver) -> None:
    with serving(runtime) as address, visiting(chromium, address) as visit:
        page = visit.open("/webhooks")
        page.get_by_role("link", name="Add a webhook").first.click()
        page.get_by_label("Address").fill(here.url)
        page.get_by_label("gate.fail").check()
        page.get_by_role("button", name="Add").click()
        secret = page.get_by_role("status").locator("code").inner_text()
        page.get_by_role("button", name="Send a ping").click()
        expect(page.get_by_role("main")).to_contain_text("pending")
        assert secret not in page.content()
        sender = threading.Thread(target=deliver_due, args=(runtime,))
        sender.start()
        expect(page.get_by_role("row", name="ping")).to_contain_text("delivered")
        sender.join()
        assert visit.complaints == []
    assert len(here.requests) == 1
