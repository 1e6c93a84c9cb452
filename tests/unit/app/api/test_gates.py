"""Verdicts and baselines over REST."""

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from flask.testing import FlaskClient

from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.history import History

CLASSES = tuple("0123456789")


@pytest.fixture
def runs(runtime: Runtime) -> dict[str, str]:
    """A base that errs on 100 of 1,000 images, and one that errs on 160."""
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=1000, classes=CLASSES)
    keys = {}
    for name, wrong in (("base", 100), ("worse", 160)):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
        keys[name] = history.submit(dataset="digits", checkpoints=[name], protocol={"scales": [32]})
        history.predict()
        history.finish(keys[name], [wrong])
    return keys


def judged(client: FlaskClient, runs: dict[str, str], **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/gates", json={"baseline": runs["base"], "candidate": runs["worse"], **fields})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.json["links"]["self"]
    return dict(answer.json)


def test_a_candidate_is_judged_and_the_verdict_kept(client: FlaskClient, runs: dict[str, str]) -> None:
    found = judged(client, runs)
    assert (found["verdict"], found["metric"], found["margin"], found["n_used"]) == ("fail", "top1_error", 0.005, 1000)
    assert found["difference"] == pytest.approx(0.06)
    assert client.get(found["links"]["self"]).json == found
    assert client.get("/api/v1/gates").json["items"] == [found]
    assert client.get("/api/v1/gates?verdict=pass").json["items"] == []


def test_a_verdict_is_there_as_junit_and_as_markdown(client: FlaskClient, runs: dict[str, str]) -> None:
    failed, unsure, passed = (judged(client, runs, margin=margin) for margin in (0.005, 0.0601, 0.2))
    assert [one["verdict"] for one in (failed, unsure, passed)] == ["fail", "fail", "pass"]
    for found, kind in ((failed, "failure"), (passed, None)):
        junit = client.get(found["links"]["junit"])
        assert junit.mimetype == "application/xml"
        suite = ET.fromstring(junit.text).find("testsuite")  # noqa: S314 - our own answer
        assert suite is not None
        problem = suite.find(f"testcase/{kind}") if kind else None
        assert suite.get("failures") == ("1" if kind else "0")
        assert (problem is None) == (kind is None)
        if problem is not None:
            assert problem.get("message") == found["reason"]
    text = client.get(failed["links"]["markdown"]).text
    assert text.startswith("### Softvote: FAIL\n")
    assert "| 10.00 % | 16.00 % | +6.00 [" in text


def test_a_baseline_is_promoted_used_and_forgotten(client: FlaskClient, runs: dict[str, str]) -> None:
    url = "/api/v1/baselines/production"
    assert client.put(url, json={"reference": runs["base"], "note": "v1"}).status_code == 204
    (baseline,) = client.get("/api/v1/baselines").json["items"]
    assert (baseline["name"], baseline["reference"], baseline["note"]) == ("production", runs["base"], "v1")
    found = judged(client, runs, baseline="production")
    assert (found["baseline"], found["baseline_reference"]) == ("production", runs["base"])
    assert client.delete(url).status_code == 204
    assert client.delete(url).status_code == 404
    assert client.get("/api/v1/baselines").json["items"] == []


@pytest.mark.parametrize(
    ("fields", "status", "pointer"),
    [
        ({"margin": -0.1}, 422, "/margin"),
        ({"alpha": 0.5}, 422, "/alpha"),
        ({"metric": "accuracy"}, 422, "/metric"),
        ({"classes": []}, 422, "/classes"),
        ({"classes": ["zebra"]}, 422, "/classes"),
        ({"margin": 1.5}, 422, "/margin"),
        ({"candidate": "nothing"}, 404, None),
    ],
)
def test_what_cannot_be_judged_is_refused_by_its_field(
    client: FlaskClient, runs: dict[str, str], fields: dict[str, Any], status: int, pointer: str | None
) -> None:
    answer = client.post("/api/v1/gates", json={"baseline": runs["base"], "candidate": runs["worse"], **fields})
    assert answer.status_code == status, json.dumps(answer.json)
    if pointer is not None:
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert client.get("/api/v1/gates").json["items"] == []


def test_names_that_hold_markup_stay_text(client: FlaskClient, runs: dict[str, str], runtime: Runtime) -> None:
    name = '<b>&"quoted"|x'
    assert client.put(f"/api/v1/baselines/{name}", json={"reference": runs["base"]}).status_code == 204
    found = judged(client, runs, baseline=name)
    case = ET.fromstring(client.get(found["links"]["junit"]).text).find("testsuite/testcase")  # noqa: S314 - our own answer
    assert case is not None
    assert name in str(case.get("name"))
    table = client.get(found["links"]["markdown"]).text.splitlines()[4]
    assert table.count("|") - table.count("\\|") == 9
