"""Webhooks over REST: the secret is shown once, addresses inside are refused, deliveries are listed."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.access.rules import need_of
from app.representations.webhooks import WebhookEvent

URL = "https://ci.example.org/softvote"


def added(client: FlaskClient, *events: str) -> dict[str, object]:
    answer = client.post("/api/v1/webhooks", json={"url": URL, "events": list(events), "note": "CI"})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.json["links"]["self"]
    return dict(answer.json)


def test_the_secret_is_shown_once(client: FlaskClient) -> None:
    made = added(client, "gate.fail", "evaluation.finished", "gate.fail")
    secret = made.pop("secret")
    assert isinstance(secret, str)
    assert secret.startswith("whsec_")
    assert len(secret) > 40
    assert made["events"] == ["evaluation.finished", "gate.fail"]
    assert client.get(f"/api/v1/webhooks/{made['id']}").json == made
    listed = client.get("/api/v1/webhooks")
    assert listed.json["items"] == [made]
    assert secret not in listed.text
    assert added(client, "gate.fail")["secret"] != secret


def test_a_ping_is_written_down_and_listed(client: FlaskClient) -> None:
    made = added(client, "gate.fail")
    answer = client.post(f"/api/v1/webhooks/{made['id']}/ping", json={})
    assert answer.status_code == 202
    (delivery,) = client.get(answer.headers["Location"]).json["items"]
    assert delivery["id"] == answer.json["delivery"]
    assert (delivery["event"], delivery["state"], delivery["attempts"]) == ("ping", "pending", 0)
    assert client.delete(f"/api/v1/webhooks/{made['id']}").status_code == 204
    for path in ("", "/deliveries"):
        gone = client.get(f"/api/v1/webhooks/{made['id']}{path}")
        assert (gone.status_code, gone.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"url": "http://ci.example.org/", "events": ["gate.fail"]}, "/url"),
        ({"url": "https://169.254.169.254/", "events": ["gate.fail"]}, "/url"),
        ({"url": "https://ci.example.org/\n", "events": ["gate.fail"]}, "/url"),
        ({"url": URL, "events": []}, "/events"),
        ({"url": URL, "events": ["gate.exploded"]}, "/events/0"),
        ({"url": URL, "events": ["ping"]}, "/events/0"),
        ({"url": URL, "events": ["gate.fail"], "secret": "mine"}, "/secret"),
    ],
)
def test_a_request_that_breaks_a_rule_names_its_field(client: FlaskClient, body: object, pointer: str) -> None:
    answer = client.post("/api/v1/webhooks", json=body)
    assert answer.status_code == 422
    assert pointer in {error["pointer"] for error in answer.json["errors"]}
    assert client.get("/api/v1/webhooks").json["items"] == []


def test_only_admins_have_to_do_with_webhooks(client: FlaskClient) -> None:
    app = client.application
    routes = [
        (rule.endpoint, method)
        for rule in app.url_map.iter_rules()
        if "/webhooks" in rule.rule
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]
    assert len(routes) > 5
    assert {need_of(app, endpoint, method) for endpoint, method in routes} == {"admin"}


def test_every_event_that_can_be_asked_for_is_documented() -> None:
    page = (Path(__file__).parents[4] / "docs/webhooks.md").read_text(encoding="utf-8")
    assert all(f"`{event}`" in page for event in WebhookEvent)
