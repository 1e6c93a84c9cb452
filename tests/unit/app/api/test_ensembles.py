"""/ensembles."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.app_builders import Service

BODY: dict[str, Any] = {
    "name": "mix",
    "members": [
        {"checkpoint": "vgg-a", "scales": [32, 48], "mode": "both", "weight": 2.0},
        {"checkpoint": "vgg-b", "scales": [64], "mode": "crops"},
    ],
}
MIX = "/api/v1/ensembles/mix"


@pytest.fixture(autouse=True)
def stocked(service: Service) -> None:
    service.add_dataset("digits")
    service.add_checkpoint("vgg-a")
    service.add_checkpoint("vgg-b")


def test_an_ensemble_is_saved_shown_listed_and_evaluated(client: FlaskClient) -> None:
    response = client.post("/api/v1/ensembles", json=BODY)
    assert response.status_code == 201
    saved = response.json
    assert client.get(response.headers["Location"]).json == saved
    assert [(m["checkpoint"], m["scales"], m["mode"], m["weight"]) for m in saved["members"]] == [
        ("vgg-a", [32, 48], "both", 2.0),
        ("vgg-b", [64], "crops", 1.0),
    ]
    assert saved["chosen"] is None
    assert [one["name"] for one in client.get("/api/v1/ensembles?search=MI").json["items"]] == ["mix"]
    assert client.get("/api/v1/ensembles?search=other").json["items"] == []
    evaluation = client.post("/api/v1/evaluations", json={"dataset": "digits", "ensemble": "mix"})
    assert evaluation.status_code == 202
    assert evaluation.json["ensemble"] == {
        "id": saved["id"],
        "name": "mix",
        "chosen": None,
        "selection_biased": False,
    }
    assert evaluation.json["fusion"]["weights"] == [2.0, 1.0]
    estimate = client.post("/api/v1/estimates", json={"dataset": "digits", "ensemble": "mix"})
    assert len(estimate.json["views"]) == 5


def test_an_edit_must_name_the_version_that_it_was_made_on(client: FlaskClient) -> None:
    client.post("/api/v1/ensembles", json=BODY)
    tag = client.get(MIX).headers["ETag"]
    assert client.get(MIX, headers={"If-None-Match": tag}).status_code == 304
    assert client.patch(MIX, json={"notes": "n"}).status_code == 428
    changed = client.patch(MIX, json={"notes": "n"}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json["notes"]) == (200, "n")
    assert client.patch(MIX, json={"notes": "m"}, headers={"If-Match": tag}).status_code == 412
    assert client.delete(MIX, headers={"If-Match": tag}).status_code == 412
    assert client.delete(MIX).status_code == 204
    assert client.get(MIX).status_code == 404


def test_what_is_wrong_is_named_by_its_place_in_the_request(client: FlaskClient) -> None:
    client.post("/api/v1/ensembles", json=BODY)
    assert client.post("/api/v1/ensembles", json=BODY).json["code"] == "name_taken"
    wrong = {**BODY, "name": "w", "members": [{"checkpoint": "vgg-x"}, {"checkpoint": "vgg-a", "scales": [8]}]}
    response = client.post("/api/v1/ensembles", json=wrong)
    assert response.status_code == 422
    assert {item["pointer"] for item in response.json["errors"]} == {"/members/0/checkpoint", "/members/1/scales"}
    both = client.post("/api/v1/evaluations", json={"dataset": "digits", "ensemble": "mix", "checkpoints": ["vgg-a"]})
    assert [item["pointer"] for item in both.json["errors"]] == ["/checkpoints"]
    neither = client.post("/api/v1/evaluations", json={"dataset": "digits"})
    assert [item["pointer"] for item in neither.json["errors"]] == ["/checkpoints"]
