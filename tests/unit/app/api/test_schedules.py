"""Schedules over REST."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from app.db.models import RunState, ScheduleRun
from app.runtime import Runtime
from tests.app_builders import Service, score

NIGHTLY = {
    "name": "nightly",
    "cron": "30 2 * * *",
    "timezone": "Europe/Berlin",
    "target": {"dataset": "digits", "checkpoints": ["vgg-a"], "protocol": {"scales": [40]}},
}


@pytest.fixture(autouse=True)
def rows(service: Service) -> None:
    service.add_dataset()
    service.add_checkpoint()


@pytest.fixture
def nightly(client: FlaskClient) -> dict[str, Any]:
    answer = client.post("/api/v1/schedules", json=NIGHTLY)
    assert answer.status_code == 201, answer.text
    assert answer.headers["Location"] == answer.json["links"]["self"]
    return dict(answer.json)


def end_run(runtime: Runtime, service: Service, run_id: str, value: float, verdict: str = "ok") -> str:
    """A run with an evaluation and a verdict, as workers would leave it."""
    evaluation = service.submit("vgg-a", force=True)
    with runtime.db.write() as session:
        # Its own item of work is nobody's here.
        session.execute(update(ScheduleRun).where(ScheduleRun.id == run_id).values(state=RunState.JUDGING))
    service.succeed(evaluation, score(0, "vgg-a", "top1_error", value, low=value / 2, high=2 * value))
    ended = {
        "state": RunState.DONE,
        "verdict": verdict,
        "evaluation_id": evaluation,
        "finished_at": dt.datetime.now(dt.UTC),
        "findings": [f"it is {verdict}"],
        "environment": [{"pillow": f"{value}", "torch": "2"}],
        "detail": {"moved": {"compared": 12, "images": 1, "top1": 1}} if verdict == "drift" else {},
        "moved_images": [["cat/0000.jpg", "cat", "dog", 0.5]] if verdict == "drift" else [],
    }
    with runtime.db.write() as session:
        session.execute(update(ScheduleRun).where(ScheduleRun.id == run_id).values(**ended))
    return evaluation


def run_now(client: FlaskClient) -> str:
    answer = client.post("/api/v1/schedules/nightly/run", json={})
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == answer.json["links"]["self"]
    assert answer.headers["Retry-After"]
    return str(answer.json["id"])


def test_a_schedule_is_made_shown_and_listed_with_its_next_five_fire_times_in_words(
    client: FlaskClient, nightly: dict[str, Any]
) -> None:
    assert nightly["words"] == "At 02:30 every day"
    assert len(nightly["next_fires"]) == 5
    first = nightly["next_fires"][0]
    assert first["at"] == nightly["next_fire_at"]
    assert ", 02:30 (UTC+0" in first["local"]
    assert "Clocks in Europe/Berlin are put" in nightly["clock_change"]
    assert nightly["verify"] == "sample"
    assert nightly["gate"] == {"metric": "top1_error", "margin": 0.005, "alpha": 0.05}
    assert nightly["last_run"] is None
    assert client.get(f"/api/v1/schedules/{nightly['id']}").json == nightly
    assert client.get("/api/v1/schedules/nightly").json == nightly
    assert client.get("/api/v1/schedules").json["items"] == [nightly]


def test_everything_that_is_wrong_is_said_at_once(client: FlaskClient) -> None:
    target = {"dataset": "digitz", "checkpoints": ["vgg-a"], "protocol": {"scales": [40]}}
    body = {**NIGHTLY, "cron": "0 0 0 * * *", "timezone": "Mars/Olympus", "target": target}
    answer = client.post("/api/v1/schedules", json=body)
    assert answer.status_code == 422
    problems = {one["pointer"]: one["message"] for one in answer.json["errors"]}
    assert list(problems) == ["/cron", "/timezone", "/target/dataset"]
    assert "seconds are not one of them" in problems["/cron"]
    assert "did you mean digits?" in problems["/target/dataset"]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"target": {"dataset": "digits"}}, "/target/checkpoints"),
        ({"target": {"dataset": "digits", "tag": "nobody"}}, "/target/tag"),
        ({"target": {"dataset": "digits", "checkpoints": ["vgg-a"], "force": True}}, "/target/force"),
        ({"every": 3600}, "/cron"),
        ({"cron": None, "every": 10}, "/every"),
        ({"gate": {"margin": 1.5}}, "/gate/margin"),
    ],
)
def test_a_bad_schedule_is_refused_with_its_field(client: FlaskClient, change: dict[str, Any], pointer: str) -> None:
    answer = client.post("/api/v1/schedules", json={**NIGHTLY, **change})
    assert answer.status_code == 422
    assert [one["pointer"] for one in answer.json["errors"]] == [pointer]


def test_a_name_is_given_once(client: FlaskClient, nightly: dict[str, Any]) -> None:
    assert client.post("/api/v1/schedules", json=NIGHTLY).json["code"] == "name_taken"
    assert client.post("/api/v1/schedules", json={**NIGHTLY, "name": "weekly"}).status_code == 201
    changed = client.patch("/api/v1/schedules/weekly", json={"name": nightly["name"]}, headers={"If-Match": "*"})
    assert changed.json["code"] == "name_taken"


def test_an_edit_names_the_version_that_was_seen(client: FlaskClient, nightly: dict[str, Any]) -> None:
    url = f"/api/v1/schedules/{nightly['id']}"
    assert client.patch(url, json={"verify": "full"}).status_code == 428
    seen = client.get(url).headers["ETag"]
    changed = client.patch(url, json={"verify": "full", "every": 3600}, headers={"If-Match": seen})
    assert changed.status_code == 200
    assert (changed.json["verify"], changed.json["cron"], changed.json["every"]) == ("full", None, 3600)
    assert changed.json["version"] == 2
    assert client.patch(url, json={"verify": "none"}, headers={"If-Match": seen}).status_code == 412
    assert client.patch(url, json={"verify": "none"}, headers={"If-Match": changed.headers["ETag"]}).status_code == 200
    assert client.delete(url, headers={"If-Match": seen}).status_code == 412
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_a_schedule_is_paused_and_resumed(client: FlaskClient, nightly: dict[str, Any]) -> None:
    paused = client.post("/api/v1/schedules/nightly/pause", json={}).json
    assert (paused["paused"], paused["next_fire_at"], paused["next_fires"]) == (True, None, [])
    resumed = client.post("/api/v1/schedules/nightly/resume", json={}).json
    assert resumed["next_fires"] == nightly["next_fires"]


def test_a_run_begins_at_once_and_no_second_one_beside_it(client: FlaskClient, nightly: dict[str, Any]) -> None:
    run_id = run_now(client)
    again = client.post("/api/v1/schedules/nightly/run", json={})
    assert (again.status_code, again.json["code"]) == (409, "state_conflict")
    run = client.get(f"/api/v1/schedules/nightly/runs/{run_id}").json
    assert (run["state"], run["cause"], run["verdict"], run["schedule_name"]) == ("checking", "manual", None, "nightly")
    assert client.get("/api/v1/schedules/nightly/runs").json["items"] == [run]
    assert client.get("/api/v1/schedules/nightly").json["last_run"] == run
    early = client.post(f"/api/v1/schedules/nightly/runs/{run_id}/acknowledge", json={})
    assert (early.status_code, early.json["code"]) == (409, "state_conflict")
    assert client.get(f"/api/v1/schedules/{nightly['id']}/runs/nobody").status_code == 404


def test_the_trend_shows_each_run_with_its_interval_and_what_it_was(
    client: FlaskClient, nightly: dict[str, Any], runtime: Runtime, service: Service
) -> None:
    evaluations, ids = [], []
    for value, verdict in ((0.25, "first"), (0.25, "ok"), (0.5, "drift")):
        ids.append(run_now(client))
        evaluations.append(end_run(runtime, service, ids[-1], value, verdict))
    trend = client.get("/api/v1/schedules/nightly/trend").json
    assert [(one["run"], one["evaluation"], one["verdict"]) for one in trend["points"]] == list(
        zip(ids, evaluations, ("first", "ok", "drift"), strict=True)
    )
    assert (trend["points"][2]["value"], trend["points"][2]["low"], trend["points"][2]["high"]) == (0.5, 0.25, 1.0)
    assert trend["breaks"] == []
    assert client.get("/api/v1/schedules/nightly/trend?metric=nll").json["points"] == []
    only = client.get("/api/v1/schedules/nightly/runs?verdict=drift").json["items"]
    assert [one["id"] for one in only] == [ids[2]]

    moved = client.get(f"/api/v1/schedules/nightly/runs/{ids[2]}/moved").json
    assert (moved["images_compared"], moved["moved"], moved["top1_moved"]) == (12, 1, 1)
    assert moved["items"] == [
        {"image": "cat/0000.jpg", "top1_before": "cat", "top1_now": "dog", "largest_difference": 0.5}
    ]
    diff = client.get(f"/api/v1/schedules/nightly/runs/{ids[2]}/environment?base={ids[1]}").json
    assert diff["differences"] == [{"field": "pillow", "before": ["0.25"], "now": ["0.5"]}]

    body = {"note": "new decoder", "accept": True}
    seen = client.post(f"/api/v1/schedules/nightly/runs/{ids[2]}/acknowledge", json=body).json
    assert seen["note"] == "new decoder"
    assert seen["acknowledged_at"] is not None
    assert client.get("/api/v1/schedules/nightly").json["reference_run"] == ids[2]
    assert client.get("/api/v1/schedules/nightly/trend").json["points"][2]["acknowledged"] is True
