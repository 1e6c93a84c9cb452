"""What a request would cost, by hand-made sums over the same rows."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select

from app.db.base import Base
from app.db.models import Checkpoint
from app.db.queries import workers as queries
from app.services import evaluations, predictions, workers
from app.services.leasing import leases
from app.services.workers import WorkerIdentity
from ensembles.architectures import block_size, view_macs
from ensembles.configurations import Architecture
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale
from tests.app_builders import CLASSES, Service

URL = "/api/v1/estimates"
IMAGES = 1500
NETWORK = Architecture("A", width=0.05, classes=len(CLASSES), crop=32)


@pytest.fixture
def body(service: Service) -> dict[str, Any]:
    """Two checkpoints, each at Q = 40 and 48, on images of 48 x 40 px."""
    service.add_dataset("digits", images=IMAGES)
    service.add_checkpoint("one")
    service.add_checkpoint("two")
    return {"dataset": "digits", "checkpoints": ["one", "two"], "protocol": {"scales": [40, 48]}}


def rows(service: Service) -> dict[str, int]:
    """How many rows each table has."""
    with service.runtime.db.read() as session:
        tables = Base.metadata.sorted_tables
        return {table.name: session.execute(select(func.count()).select_from(table)).scalar_one() for table in tables}


def stop_workers(service: Service) -> None:
    """Those that made the rows of the fixture."""
    with service.runtime.db.read() as session:
        living = [worker.id for worker in queries.alive(session)]
    for worker in living:
        workers.stop(service.runtime.db, worker)


def macs(scale: int) -> int:
    """Of one image."""
    (view,) = Protocol.parse({"scales": [scale]}).views(TrainingScale(32, 64), NETWORK.crop, "one", None)
    return view_macs(NETWORK, view, 48, 40)


def test_what_is_unknown_is_all_to_do_and_nothing_is_written(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    before = rows(service)
    document = client.post(URL, json=body).json
    assert rows(service) == before
    total = 2 * IMAGES * (macs(40) + macs(48)) / 1e9
    assert (document["dataset"], document["images"]) == ("digits", IMAGES)
    assert document["gmacs"] == document["gmacs_total"] == pytest.approx(total)
    assert (document["image_views"], document["image_views_done"]) == (4 * IMAGES, 0)
    # Posteriors of three classes in float32; 40 bytes an image for both members and the ensemble.
    assert document["disk_bytes"] == 4 * IMAGES * 3 * 4 + 3 * IMAGES * 40
    assert [(view["checkpoint"], view["scale"]) for view in document["views"]] == [
        ("one", 40), ("one", 48), ("two", 40), ("two", 48),
    ]  # fmt: skip
    assert {view["set_id"] for view in document["views"]} == {None}
    assert document["checkpoints"][0]["scales"] == [40, 48]


def test_what_exists_is_named_with_how_far_it_is_and_only_the_rest_is_counted(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    service.submit("one", protocol={"scales": [40]}, limit=100)
    service.predict()
    document = client.post(URL, json=body).json
    known, *unknown = document["views"]
    block = block_size(NETWORK, Protocol.parse({"scales": [40]}).views(TrainingScale(32, 64), 32, "one", None)[0])
    assert 100 <= known["done"] == -(-100 // block) * block < IMAGES
    assert known["set_id"]
    assert {(view["done"], view["set_id"]) for view in unknown} == {(0, None)}
    rest = (IMAGES - known["done"]) * macs(40) + IMAGES * (macs(40) + 2 * macs(48))
    assert document["gmacs"] == pytest.approx(rest / 1e9)
    assert document["image_views_done"] == known["done"]
    assert client.post(URL, json={**body, "force": True}).json["image_views_done"] == 0


def test_an_estimate_is_what_the_submission_then_reuses_and_wants(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    service.submit("two", protocol={"scales": [48]}, limit=64)
    service.predict()
    estimated = client.post(URL, json=body).json["views"]
    submitted = client.post("/api/v1/evaluations", json=body).json["views"]
    for before, after in zip(estimated, submitted, strict=True):
        assert (before["view_digest"], before["done"]) == (after["view_digest"], after["reused"])
        assert before["set_id"] in (None, after["set_id"])
    again = client.post(URL, json=body).json["views"]
    assert [view["set_id"] for view in again] == [view["set_id"] for view in submitted]


def test_equal_weights_under_two_names_are_computed_once(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits", images=IMAGES)
    service.add_checkpoint("one")
    with service.runtime.db.write() as session:
        first = session.scalars(select(Checkpoint)).one()
        columns = {column.name: getattr(first, column.name) for column in Checkpoint.__table__.columns}
        session.add(Checkpoint(**{**columns, "id": "f" * 24, "name": "alias"}))
    body = {"dataset": "digits", "checkpoints": ["one", "alias"], "protocol": {"scales": [40]}}
    document = client.post(URL, json=body).json
    assert len(document["views"]) == 2
    assert (document["image_views"], document["gmacs"]) == (IMAGES, pytest.approx(IMAGES * macs(40) / 1e9))


def test_seconds_come_from_measured_rates_and_are_null_where_nothing_was_measured(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    db = service.runtime.db
    stop_workers(service)
    assert client.post(URL, json=body).json["devices"] == []
    one = service.add_worker("cpu@here")
    leases.renew(db, one, [], None, None, 2e9)  # a guess, before the first slice
    document = client.post(URL, json=body).json
    assert [(d["worker"], d["seconds"], d["gmacs_per_second"]) for d in document["devices"]] == [
        ("cpu@here", None, None)
    ]
    assert document["seconds"] is None
    leases.renew(db, one, [], None, 10.0, 4e9)
    identity = WorkerIdentity.of_this_process("gpu@here", "cuda:0", ("predict",), {"device_name": "a card"})
    leases.renew(db, workers.register(db, identity), [], None, 100.0, 12e9)
    fuser = WorkerIdentity.of_this_process("fuser", "cpu", ("fuse",), {})
    leases.renew(db, workers.register(db, fuser), [], None, 100.0, 12e9)
    document = client.post(URL, json=body).json
    work = document["gmacs"]
    assert {d["worker"]: d["seconds"] for d in document["devices"]} == {
        "cpu@here": pytest.approx(work / 4),
        "gpu@here": pytest.approx(work / 12),
    }
    assert document["devices"][1]["device_name"] == "a card"
    assert document["seconds"] == pytest.approx(work / 16)


def test_a_worker_that_just_started_is_as_fast_as_the_last_one_on_its_device(
    client: FlaskClient, service: Service, body: dict[str, Any]
) -> None:
    db = service.runtime.db
    stop_workers(service)
    gone = service.add_worker("before")
    leases.renew(db, gone, [], None, 10.0, 5e9)
    workers.stop(db, gone)
    service.add_worker("after")
    (device,) = client.post(URL, json=body).json["devices"]
    assert (device["worker"], device["gmacs_per_second"]) == ("after", 5.0)


def test_a_request_that_could_not_be_submitted_has_no_estimate(client: FlaskClient, body: dict[str, Any]) -> None:
    wrong = {**body, "dataset": "digit", "protocol": {"dtype": "int8"}}
    refused, submitted = (client.post(url, json=wrong) for url in (URL, "/api/v1/evaluations"))
    assert (refused.status_code, refused.json) == (422, submitted.json)


def test_what_a_worker_holds_counts_as_work_to_do(client: FlaskClient, service: Service, body: dict[str, Any]) -> None:
    service.submit("one", protocol={"scales": [40]})
    worker = service.add_worker()
    assert predictions.lease_slice(service.runtime.db, worker, macs_per_second=1e12)
    document = client.post(URL, json=body).json
    assert (document["views"][0]["done"], document["image_views_done"]) == (0, 0)
    evaluations.cancel_many(service.runtime.db)
