import csv
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI

from ensembles.configurations import Architecture
from tests.app_builders import Service, score
from tests.history import History

URL = "/api/v1/evaluations"


@pytest.fixture
def body(service: Service) -> dict[str, Any]:
    """A request that can be fulfilled."""
    service.add_dataset("digits")
    service.add_checkpoint("one")
    service.add_checkpoint("two")
    return {"dataset": "digits", "checkpoints": ["one", "two"], "protocol": {"scales": [40]}}


def test_a_submission_is_accepted_and_can_be_followed(client: FlaskClient, body: dict[str, Any]) -> None:
    response = client.post(URL, json=body)
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Location"] == response.json["links"]["self"]
    followed = client.get(response.headers["Location"]).json
    assert followed == response.json
    assert (followed["status"], followed["progress"]["total"]) == ("queued", 24)


def test_everything_that_is_wrong_with_a_request_is_named_at_once(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    service.request_checkpoint("unread")
    members = ["one", "unread", "none", {"checkpoint": "two", "protocol": {"scales": [16]}, "weight": -1.0}]
    wrong = {**body, "dataset": "digit", "checkpoints": members, "protocol": {"dtype": "int8"}}
    response = client.post(URL, json=wrong)
    assert (response.status_code, response.json["code"]) == (422, "invalid_request")
    assert {error["pointer"]: error["code"] for error in response.json["errors"]} == {
        "/dataset": "unknown_name",
        "/protocol/dtype": "invalid_value",
        "/checkpoints/1": "not_ready",
        "/checkpoints/2": "unknown_name",
        "/checkpoints/3/protocol/scales": "scale_too_small",
        "/checkpoints/3/weight": "invalid_value",
    }
    assert client.get(URL).json["items"] == []


def test_fields_of_the_wrong_type_are_named_once_each(client: FlaskClient) -> None:
    wrong = {
        "dataset": 7,
        "checkpoints": ["a", {"checkpoint": "b", "weight": "heavy"}, 3, {"weight": 1}],
        "protocol": 4,
        "fusion": {"rule": "mean", "weights": [1, None]},
        "priority": True,
        "a/b": 1,
    }
    response = client.post(URL, json=wrong)
    assert response.status_code == 422
    assert sorted((error["pointer"], error["code"]) for error in response.json["errors"]) == [
        ("/a~1b", "unknown_field"),
        ("/checkpoints/1/weight", "invalid_value"),
        ("/checkpoints/2", "invalid_value"),
        ("/checkpoints/3/checkpoint", "missing_field"),
        ("/dataset", "invalid_value"),
        ("/fusion/weights/1", "invalid_value"),
        ("/priority", "invalid_value"),
        ("/protocol", "invalid_value"),
    ]


def test_two_equal_posts_with_one_key_make_one_evaluation(client: FlaskClient, body: dict[str, Any]) -> None:
    answers = [client.post(URL, json=body, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].headers["Location"] == answers[1].headers["Location"]
    assert len(client.get(URL).json["items"]) == 1


def test_a_key_that_came_before_with_another_body_is_refused(client: FlaskClient, body: dict[str, Any]) -> None:
    client.post(URL, json=body, headers={"Idempotency-Key": "k1"})
    response = client.post(URL, json={**body, "priority": 9}, headers={"Idempotency-Key": "k1"})
    assert (response.status_code, response.json["code"]) == (409, "idempotency_conflict")
    assert len(client.get(URL).json["items"]) == 1


def test_posts_without_a_key_make_an_evaluation_each(client: FlaskClient, body: dict[str, Any]) -> None:
    assert client.post(URL, json=body).json["id"] != client.post(URL, json=body).json["id"]


def test_many_equal_posts_at_once_make_one_evaluation(app: OpenAPI, body: dict[str, Any]) -> None:
    def post(_: int) -> tuple[int, str]:
        response = app.test_client().post(URL, json=body, headers={"Idempotency-Key": "same"})
        return response.status_code, response.headers["Location"]

    with ThreadPoolExecutor(8) as threads:
        answers = set(threads.map(post, range(24)))
    assert len(answers) == 1
    assert len(app.test_client().get(URL).json["items"]) == 1


@pytest.mark.parametrize("key", ["", "a b", "ä", "x" * 201])
def test_a_key_that_is_no_plain_word_is_refused(client: FlaskClient, body: dict[str, Any], key: str) -> None:
    response = client.post(URL, json=body, headers={"Idempotency-Key": key})
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/Idempotency-Key"


def test_an_unchanged_evaluation_is_not_sent_again(client: FlaskClient, service: Service, body: dict[str, Any]) -> None:
    url = client.post(URL, json=body).headers["Location"]
    first = client.get(url)
    again = client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    service.predict()
    changed = client.get(url, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.json["status"] == "fusing"
    assert changed.headers["ETag"] != first.headers["ETag"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["second", "first"]),
        ({"status": "cancelled"}, ["first"]),
        ({"status": "queued"}, ["second"]),
        ({"dataset": "digits"}, ["first"]),
        ({"dataset": "others"}, ["second"]),
        ({"checkpoint": "two"}, ["second"]),
        ({"search": "oth"}, ["second"]),
        ({"search": "oth", "status": "cancelled"}, []),
    ],
)
def test_the_list_is_filtered(
    client: FlaskClient, service: Service, body: dict[str, Any], query: dict[str, str], expected: list[str]
) -> None:
    service.add_dataset("others")
    names = {service.submit("one"): "first", service.submit("one", "two", dataset="others"): "second"}
    client.post(f"{URL}/{min(names)}/cancel", json={})
    items = client.get(URL, query_string=query).json["items"]
    assert [names[item["id"]] for item in items] == expected


def test_an_unknown_status_is_refused(client: FlaskClient) -> None:
    response = client.get(f"{URL}?status=done")
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/status"


def test_the_list_is_walked_page_by_page_to_its_end(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    made = [service.submit("one") for _ in range(5)]
    seen, cursor = [], ""
    for _ in range(3):
        page = client.get(f"{URL}?limit=2{cursor}").json
        seen += [item["id"] for item in page["items"]]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert seen == made[::-1]


def test_an_evaluation_is_cancelled_and_tried_again(client: FlaskClient, body: dict[str, Any]) -> None:
    url = client.post(URL, json=body).headers["Location"]
    cancelled = client.post(f"{url}/cancel", json={})
    assert (cancelled.status_code, cancelled.json["status"]) == (202, "cancelled")
    assert cancelled.headers["Location"] == url
    again = client.post(f"{url}/retry", content_type="application/json")
    assert (again.status_code, again.json["status"]) == (202, "queued")


def test_the_parts_of_an_evaluation_are_listed(client: FlaskClient, service: Service, body: dict[str, Any]) -> None:
    url = f"{client.post(URL, json=body).headers['Location']}/parts"
    assert client.get(url).json == {"items": [], "next": None}
    service.predict()
    items = client.get(url).json["items"]
    assert {(part["checkpoint"], part["state"], part["start"], part["stop"]) for part in items} == {
        ("one", "done", 0, 12),
        ("two", "done", 0, 12),
    }
    assert client.get(f"{url}?state=open").json["items"] == []
    first = client.get(f"{url}?limit=1").json
    assert [*first["items"], *client.get(url, query_string={"cursor": first["next"]}).json["items"]] == items
    assert client.get(f"{url}?state=lost").status_code == 422
    assert client.get(f"{URL}/nothing/parts").status_code == 404


def test_many_are_cancelled_with_one_request(client: FlaskClient, service: Service, body: dict[str, Any]) -> None:
    ids = [service.submit("one"), service.submit("two"), service.submit("one", "two")]
    some = client.post(f"{URL}/cancel", json={"ids": [ids[0], "nothing"]})
    assert (some.status_code, some.json) == (200, {"cancelled": 1})
    assert client.post(f"{URL}/cancel", json={"ids": []}).json == {"cancelled": 0}
    assert client.post(f"{URL}/cancel", json={"ids": None}).json == {"cancelled": 2}
    assert {item["status"] for item in client.get(URL).json["items"]} == {"cancelled"}


def test_cancelling_many_without_saying_which_is_refused(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    service.submit("one")
    answer = client.post(f"{URL}/cancel", json={})
    assert (answer.status_code, answer.json["errors"][0]["pointer"]) == (422, "/ids")
    assert client.get(URL).json["items"][0]["status"] == "queued"


def test_what_has_ended_cannot_be_cancelled_and_what_runs_not_retried(
    client: FlaskClient, body: dict[str, Any]
) -> None:
    url = client.post(URL, json=body).headers["Location"]
    retried = client.post(f"{url}/retry", json={})
    client.post(f"{url}/cancel", json={})
    cancelled = client.post(f"{url}/cancel", json={})
    for response in (retried, cancelled):
        assert (response.status_code, response.json["code"]) == (409, "state_conflict")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/scores"), ("POST", "/cancel"), ("POST", "/retry")])
def test_an_unknown_evaluation_is_not_found(client: FlaskClient, method: str, path: str) -> None:
    response = client.open(f"{URL}/none{path}", method=method, content_type="application/json")
    assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_scores_are_given_unrounded_with_their_intervals(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    evaluation = service.submit("one")
    assert client.get(f"{URL}/{evaluation}/scores").json["items"] == []
    service.succeed(evaluation, score(0, "one", "top1_error", 1 / 3, low=0.1, high=0.7), score(0, "one", "nll", 1.0986))
    document = client.get(f"{URL}/{evaluation}/scores").json
    assert document["status"] == "succeeded"
    assert [(row["metric"], row["value"], row["low"], row["high"]) for row in document["items"]] == [
        ("top1_error", 1 / 3, 0.1, 0.7),
        ("nll", 1.0986, None, None),
    ]


def test_scores_are_given_as_csv_that_no_spreadsheet_runs(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits")
    name = '=HYPERLINK("http://evil.example","a,b")'
    service.add_checkpoint(name)
    evaluation = service.submit(name)
    service.succeed(evaluation, score(0, name, "top1_error", 1 / 3, low=0.1, high=0.7), score(0, name, "nll", -0.5))
    response = client.get(f"{URL}/{evaluation}/scores?format=csv")
    assert response.content_type == "text/csv; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="scores-{evaluation}.csv"'
    text = response.get_data(as_text=True)
    assert text.count("\r\n") == text.count("\n") == 2
    (row,) = csv.DictReader(io.StringIO(text, newline=""))
    assert row["name"] == row["members"] == f"'{name}"
    assert (float(row["top1_error"]), float(row["nll"])) == (1 / 3, -0.5)
    assert (row["top1_error_low"], row["scales"], row["n"]) == ("0.1", "40", "12")


def test_the_papers_tables_take_the_rows_of_several_evaluations(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    made = [service.submit(name, protocol={"scales": "single"}) for name in ("one", "two")]
    for evaluation, name in zip(made, ("one", "two"), strict=True):
        members = [{"checkpoint": name, "scales": [48], "mode": "dense"}]
        errors = [score(0, name, metric, 0.25, members=members) for metric in ("top1_error", "top5_error")]
        service.succeed(evaluation, *errors)
    document = client.get(f"{URL}/{made[0]}/paper?with={made[1]}").json
    measured = [row["measured"] for table in document["tables"] for row in table["rows"] if row["measured"]]
    assert {row["evaluation"] for row in measured} == set(made)
    assert client.get(f"{URL}/{made[0]}/paper?with=none").status_code == 404
    one_table = client.get(f"{URL}/{made[0]}/paper?table=6").json["tables"]
    assert [table["number"] for table in one_table] == [6]
    answer = client.get(f"{URL}/{made[0]}/paper?format=csv")
    assert answer.mimetype == "text/csv"
    assert sum(line.startswith("7,") for line in answer.text.splitlines()) == 15
    assert client.get(f"{URL}/{made[0]}/paper?table=8").json["errors"][0]["pointer"] == "/table"


def test_an_unknown_format_of_scores_is_refused(client: FlaskClient) -> None:
    assert client.get(f"{URL}/x/scores?format=xml").json["errors"][0]["pointer"] == "/format"


@pytest.mark.parametrize("action", ["cancel", "retry"])
def test_an_action_takes_an_empty_object_or_an_empty_body_and_refuses_what_it_does_not_know(
    client: FlaskClient, service: Service, body: dict[str, Any], action: str
) -> None:
    key = client.post(URL, json=body).json["id"]
    if action == "retry":
        assert client.post(f"{URL}/{key}/cancel", content_type="application/json").status_code == 202
    refused = client.post(f"{URL}/{key}/{action}", json={"why": "no"})
    assert (refused.status_code, refused.json["errors"][0]["pointer"]) == (422, "/why")
    assert client.post(f"{URL}/{key}/{action}", json={}).status_code == 202


def test_a_renamed_checkpoint_is_called_so_everywhere_and_the_old_etag_is_worth_nothing(
    client: FlaskClient, service: Service
) -> None:
    history = History(service.runtime, macs_per_second=1e15)
    history.dataset("photos", images=60, classes=tuple("0123456789"))
    for name in ("old", "other"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    key = history.submit(dataset="photos", checkpoints=["old", "other"], protocol={"scales": [32]})
    history.predict()
    history.finish(key, [9, 8, 7])
    before = client.get(f"{URL}/{key}")
    assert client.patch("/api/v1/checkpoints/old", json={"name": "new"}).status_code == 200
    after = client.get(f"{URL}/{key}", headers={"If-None-Match": before.headers["ETag"]})
    assert (after.status_code, after.json["checkpoints"][0]["checkpoint"]) == (200, "new")
    scores = client.get(f"{URL}/{key}/scores").json["items"]
    assert {item["subject_name"] for item in scores} == {"new", "other", "ensemble"}
    assert {member["checkpoint"] for item in scores for member in item["members"]} == {"new", "other"}
    tables = client.get(f"{URL}/{key}/paper")
    assert tables.status_code == 200
    assert "new" in tables.get_data(as_text=True)
