"""`/compare` over HTTP; every answer is held against the OpenAPI document by the client."""

import csv
import io

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from app.db.models import EvaluationOutcomes
from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.history import History

URL = "/api/v1/compare"


@pytest.fixture
def history(runtime: Runtime) -> History:
    history = History(runtime, macs_per_second=1e15)
    history.dataset("digits", images=400, classes=tuple("0123456789"))
    for name in ("small", "=odd|name"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 32))
    return history


@pytest.fixture
def key(history: History) -> str:
    """A finished evaluation of two members."""
    key = history.submit(dataset="digits", checkpoints=["small", "=odd|name"], protocol={"scales": [32]})
    history.predict()
    history.finish(key, [80, 34, 30])
    return key


def test_candidates_repeat_and_each_is_compared_by_both_errors(client: FlaskClient, key: str) -> None:
    sides = [f"{key}:small", f"{key}:=odd|name"]
    answer = client.get(URL, query_string={"base": key, "candidate": sides})
    assert answer.status_code == 200
    assert [(pair["candidate"], pair["metric"]) for pair in answer.json["pairs"]] == [
        (side, metric) for side in sides for metric in ("top1_error", "top5_error")
    ]
    first = answer.json["pairs"][0]
    assert (first["base_value"], first["candidate_value"], first["verdict"]) == (30 / 400, 80 / 400, "worse")
    assert [(rank["best"], rank["worst"]) for rank in answer.json["ranks"][:3]] == [(1, 2), (3, 3), (1, 2)]
    assert client.get(answer.json["links"]["self"]).json == answer.json


def test_a_table_for_programs_holds_what_the_json_does(client: FlaskClient, key: str) -> None:
    document = client.get(URL, query_string={"base": key, "candidate": [f"{key}:=odd|name"]}).json
    answer = client.get(document["links"]["csv"])
    assert answer.mimetype == "text/csv"
    assert 'filename="comparison.csv"' in answer.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["metric"] for row in rows] == ["top1_error", "top5_error"]
    for row, pair in zip(rows, document["pairs"], strict=True):
        assert float(row["p_adjusted"]) == pair["p_adjusted"]
        assert int(row["both_right"]) == pair["both_right"]
    assert (rows[0]["best_rank"], rows[0]["worst_rank"]) == ("1", "2")


def test_a_table_for_people_survives_odd_names(client: FlaskClient, key: str) -> None:
    document = client.get(URL, query_string={"base": key, "candidate": [f"{key}:=odd|name"]}).json
    answer = client.get(document["links"]["markdown"])
    assert answer.mimetype == "text/markdown"
    head, rule, *rows = answer.text.splitlines()
    assert len(rows) == 2
    assert all(line.replace("\\|", "").count("|") == head.count("|") for line in (rule, *rows))
    assert "7.50 %" in rows[0]


def test_other_metrics_are_answered_on_request_and_have_no_counts(client: FlaskClient, key: str) -> None:
    query = {"base": key, "candidate": f"{key}:small", "metric": ["nll", "ece"]}
    document = client.get(URL, query_string=query).json
    assert [(pair["metric"], pair["only_base_wrong"], pair["p_exact"]) for pair in document["pairs"]] == [
        ("nll", None, None),
        ("ece", None, None),
    ]
    assert document["pairs"][0]["verdict"] == "worse"
    assert client.get(document["links"]["self"]).json == document
    assert "nats" in client.get(document["links"]["markdown"]).text


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"base": "KEY", "candidate": "0" * 24}, 404, "not_found"),
        ({"base": "KEY", "candidate": "KEY:nobody"}, 404, "not_found"),
        ({"base": "KEY", "candidate": "KEY"}, 422, "invalid_request"),
        ({"base": "KEY"}, 422, "invalid_request"),
        ({"candidate": "KEY"}, 422, "invalid_request"),
        ({"base": "KEY", "candidate": ["KEY:small"] * 501}, 422, "invalid_request"),
        ({"base": "KEY", "candidate": "KEY:small", "metric": "accuracy"}, 422, "invalid_request"),
        ({"base": "KEY", "candidate": "KEY:small", "format": "xml"}, 422, "invalid_request"),
        ({"base": "QUEUED", "candidate": "KEY"}, 409, "state_conflict"),
        ({"base": "KEY", "candidate": "OLD"}, 409, "outcomes_missing"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_code(
    client: FlaskClient, history: History, key: str, query: dict[str, str | list[str]], status: int, code: str
) -> None:
    old = history.submit(dataset="digits", checkpoints=["small"], protocol={"scales": [40]})
    history.predict()
    history.finish(old, [50], answers={})
    queued = history.submit(dataset="digits", checkpoints=["small"], protocol={"scales": [44]})

    def named(text: str) -> str:
        return text.replace("KEY", key).replace("QUEUED", queued).replace("OLD", old)

    filled = {
        name: named(value) if isinstance(value, str) else [named(one) for one in value] for name, value in query.items()
    }
    answer = client.get(URL, query_string=filled)
    assert (answer.status_code, answer.json["code"]) == (status, code)


def test_a_damaged_file_is_a_fault_of_the_server(client: FlaskClient, runtime: Runtime, key: str) -> None:
    with runtime.db.read() as session:
        ensemble = session.scalars(select(EvaluationOutcomes).where(EvaluationOutcomes.member_position.is_(None))).one()
    path = runtime.artifacts.path(ensemble.artifact)
    path.write_bytes(path.read_bytes()[:-1])
    answer = client.get(URL, query_string={"base": key, "candidate": f"{key}:small"})
    assert (answer.status_code, answer.json["code"]) == (500, "artifact_damaged")
