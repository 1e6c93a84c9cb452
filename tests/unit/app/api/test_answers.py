"""How an evaluation's images were answered, over HTTP; every answer is held against the OpenAPI document."""

import csv
import io

import pytest
from flask.testing import FlaskClient

from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.history import History


@pytest.fixture
def history(runtime: Runtime) -> History:
    history = History(runtime, macs_per_second=1e15)
    history.dataset("digits", images=400, classes=tuple("0123456789"))
    for name in ("small", "=odd|name"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    return history


@pytest.fixture
def url(history: History) -> str:
    """Of a finished evaluation of two members."""
    key = history.submit(dataset="digits", checkpoints=["small", "=odd|name"], protocol={"scales": [32]})
    history.predict()
    history.finish(key, [80, 34, 30])
    return f"/api/v1/evaluations/{key}"


def rows_of(client: FlaskClient, url: str, **query: object) -> list[dict[str, str]]:
    answer = client.get(url, query_string={**query, "format": "csv"})
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert "attachment" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_classes_come_page_by_page_and_as_one_table(client: FlaskClient, url: str) -> None:
    first = client.get(f"{url}/classes", query_string={"limit": 4}).json
    second = client.get(f"{url}/classes", query_string={"limit": 4, "cursor": first["next"]}).json
    assert [len(first["items"]), len(second["items"])] == [4, 4]
    errors = [item["value"] for item in first["items"] + second["items"]]
    assert errors == sorted(errors, reverse=True)
    rows = rows_of(client, f"{url}/classes")
    assert [float(row["value"]) for row in rows[:8]] == errors
    assert len(rows) == 10
    assert sum(int(row["errors"]) for row in rows) == 30


def test_classes_beside_a_base_carry_a_test_each(client: FlaskClient, url: str) -> None:
    base = f"{url.rpartition('/')[2]}:small"
    document = client.get(f"{url}/classes", query_string={"base": base}).json
    assert (document["base"]["name"], document["subject"]["name"], document["sort"]) == ("small", "ensemble", "p")
    adjusted = [item["delta"]["p_adjusted"] for item in document["items"]]
    assert adjusted == sorted(adjusted)
    rows = rows_of(client, f"{url}/classes", base=base)
    assert [float(row["delta_p_adjusted"]) for row in rows] == adjusted


def test_a_member_is_asked_for_by_name_and_a_table_cannot_run_it_as_a_formula(client: FlaskClient, url: str) -> None:
    document = client.get(f"{url}/confusion", query_string={"subject": "=odd|name", "limit": 3}).json
    assert (document["errors"], len(document["items"])) == (34, 3)
    assert len(rows_of(client, f"{url}/confusion", subject="=odd|name")) == document["pairs"]
    assert {row["name"] for row in rows_of(client, f"{url}/calibration")} == {"ensemble", "small", "'=odd|name"}
    (pair,) = rows_of(client, f"{url}/agreement")
    assert (pair["member"], pair["other"]) == ("small", "'=odd|name")


def test_the_picture_of_the_matrix_is_asked_for_again_only_where_it_changed(client: FlaskClient, url: str) -> None:
    picture = client.get(f"{url}/confusion", query_string={"format": "png"})
    assert picture.data.startswith(b"\x89PNG")
    headers = {"If-None-Match": picture.headers["ETag"]}
    assert client.get(f"{url}/confusion", query_string={"format": "png"}, headers=headers).status_code == 304


def test_calibration_and_agreement_are_of_every_member(client: FlaskClient, url: str) -> None:
    items = client.get(f"{url}/calibration").json["items"]
    assert [item["subject"]["name"] for item in items] == ["ensemble", "small", "=odd|name"]
    assert [item["accuracy"] for item in items] == [370 / 400, 320 / 400, 366 / 400]
    assert all(len(item["width"]) == 15 and sum(b["n"] for b in item["mass"]) == 400 for item in items)
    agreement = client.get(f"{url}/agreement").json
    assert (agreement["members"], agreement["errors"], agreement["ensemble_errors"]) == (
        ["small", "=odd|name"],
        [80, 34],
        30,
    )
    assert agreement["rescued"] - agreement["broken"] == 4


def test_images_are_filtered_and_cut_and_say_that_no_posteriors_are_there(client: FlaskClient, url: str) -> None:
    page = client.get(f"{url}/images", query_string={"show": "confident", "limit": 20}).json
    assert (page["found"], page["n"], len(page["items"]), page["next"]) == (30, 400, 20, "20")
    assert len(page["problems"]) == 2
    assert all(answer["top"] is None for item in page["items"] for answer in item["answers"])
    sides = {"base": f"{url.rpartition('/')[2]}:small", "candidate": url.rpartition("/")[2]}
    cell = client.get(f"{url}/images", query_string={**sides, "cell": "only_base_wrong", "metric": "top1_error"}).json
    compared = client.get("/api/v1/compare", query_string=sides).json
    assert cell["found"] == compared["pairs"][0]["only_base_wrong"] > 0
    rows = rows_of(client, f"{url}/images", show="wrong", limit=5)
    assert len(rows) == 15
    assert int(rows[0]["rank"]) >= 1


@pytest.mark.parametrize(
    ("path", "query", "status", "pointer"),
    [
        ("images", {"cell": "both_wrong"}, 422, "/base"),
        ("images", {"label": "10"}, 422, "/label"),
        ("images", {"label": "-1"}, 422, "/label"),
        ("images", {"cursor": "nonsense"}, 422, "/cursor"),
        ("images", {"show": "everything"}, 422, "/show"),
        ("classes", {"sort": "name"}, 422, "/sort"),
        ("classes", {"limit": "201"}, 422, "/limit"),
        ("classes", {"subject": "nobody"}, 404, None),
        ("classes", {"base": "nothing"}, 404, None),
        ("confusion", {"format": "gif"}, 422, "/format"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(
    client: FlaskClient, url: str, path: str, query: dict[str, str], status: int, pointer: str | None
) -> None:
    answer = client.get(f"{url}/{path}", query_string=query)
    assert answer.status_code == status
    if pointer:
        assert answer.json["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("path", ["classes", "confusion", "calibration", "agreement", "images"])
def test_an_evaluation_without_outcomes_says_how_to_get_them(
    client: FlaskClient, history: History, url: str, path: str
) -> None:
    old = history.submit(dataset="digits", checkpoints=["small", "=odd|name"], protocol={"scales": [36]})
    history.predict()
    assert client.get(f"/api/v1/evaluations/{old}/{path}").json["code"] == "state_conflict"
    history.finish(old, [80, 34, 30], answers={})
    answer = client.get(f"/api/v1/evaluations/{old}/{path}")
    assert (answer.status_code, answer.json["code"]) == (409, "outcomes_missing")
    assert "submit it again" in answer.json["detail"]
    assert client.get(f"/api/v1/evaluations/none/{path}").status_code == 404
