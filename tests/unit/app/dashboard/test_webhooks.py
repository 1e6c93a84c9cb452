"""The pages of webhooks, as HTML."""

from __future__ import annotations

import re

from app.runtime import Runtime
from app.services.notifications import webhooks
from tests.unit.app.dashboard.conftest import Browser

URL = "https://ci.example.org/softvote?a=<b>"


def test_a_webhook_is_added_shown_with_its_secret_once_pinged_and_forgotten(browser: Browser) -> None:
    assert "Nobody is told of anything yet." in browser.open("/webhooks")
    made = browser.post("/webhooks/new", "/webhooks/new", url=f" {URL} ", events=["gate.fail", "gate.pass"], note="CI")
    assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
    secret = re.search(r"whsec_[\w-]{40,}", made.text)
    webhook = re.search(r"/webhooks/([0-9a-f]{24})/ping", made.text)
    assert secret
    assert webhook
    page = f"/webhooks/{webhook[1]}"
    shown = browser.open(page)
    assert secret[0] not in shown
    assert "softvote?a=&lt;b&gt;" in shown
    assert "told of gate.pass, gate.fail" in shown
    assert "CI" in browser.open("/webhooks")

    pinged = browser.post(page, f"{page}/ping")
    assert (pinged.status_code, pinged.headers["Location"]) == (303, page)
    assert 'class="status status-pending"' in browser.open(page)
    assert 'class="status status-pending"' in browser.open("/webhooks")
    assert browser.post(page, f"{page}/delete").status_code == 303
    assert "Nobody is told of anything yet." in browser.open("/webhooks")
    browser.open(page, 404)


def test_what_is_wrong_stands_beside_its_field_and_what_was_entered_stays(browser: Browser, runtime: Runtime) -> None:
    refused = browser.post("/webhooks/new", "/webhooks/new", url="https://10.0.0.1/", note="mine")
    assert refused.status_code == 422
    assert "at least one event is needed" in refused.text
    assert 'value="https://10.0.0.1/"' in refused.text
    inside = browser.post("/webhooks/new", "/webhooks/new", url="https://10.0.0.1/", events=["gate.fail"])
    assert inside.status_code == 422
    assert "SOFTVOTE_WEBHOOK_ALLOW_PRIVATE" in inside.text
    assert 'value="gate.fail" checked' in inside.text
    with runtime.db.read() as session:
        assert not webhooks.is_wanted(session, "gate.fail")
