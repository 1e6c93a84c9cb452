"""/metrics as Prometheus reads it."""

import datetime as dt

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select, update

from app.db.base import utc_now
from app.db.models import Event, Worker
from tests.app_builders import Service

Sample = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(client: FlaskClient) -> Sample:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def labelled(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))


def let_time_pass(service: Service) -> None:
    with service.runtime.db.write() as session:
        session.execute(update(Event).values(at=utc_now() - dt.timedelta(minutes=2)))


def test_an_empty_service_has_every_status_at_zero(client: FlaskClient) -> None:
    found = scrape(client)
    assert found[labelled("softvote_evaluations", status="queued")] == 0
    assert found[labelled("softvote_open_parts", state="leased")] == 0
    assert found[labelled("softvote_oldest_queued_seconds")] == 0
    assert found[labelled("softvote_artifacts_free_bytes")] > 0


def test_what_waits_and_who_works_is_counted(client: FlaskClient, service: Service) -> None:
    service.add_dataset()
    service.add_checkpoint("a")
    service.request_checkpoint("unread")
    service.submit("a")
    found = scrape(client)
    assert found[labelled("softvote_evaluations", status="queued")] == 1
    assert found[labelled("softvote_oldest_queued_seconds")] > 0
    assert found[labelled("softvote_open_items", queue="predict", kind="register_checkpoint", state="pending")] == 1
    service.predict()
    found = scrape(client)
    assert found[labelled("softvote_evaluations", status="fusing")] == 1
    assert found[labelled("softvote_open_items", queue="fuse", kind="fuse", state="pending")] == 1
    with service.runtime.db.read() as session:
        (host,) = session.scalars(select(Worker.host).distinct())
    worker = labelled("softvote_workers", worker="cpu@here", host=host, device="cpu", state="idle")
    assert found[worker] == 1
    assert 0 <= found["softvote_worker_last_seen_seconds", worker[1]] < 60


def test_events_are_counted_once_however_often_they_are_read(client: FlaskClient, service: Service) -> None:
    service.add_dataset()
    service.add_checkpoint("a")
    service.submit("a")
    submitted = labelled("softvote_events_total", kind="evaluation_submitted")
    assert submitted not in scrape(client)
    let_time_pass(service)
    assert [scrape(client)[submitted] for _ in range(3)] == [1, 1, 1]
    service.submit("a", protocol={"scales": [48]})
    assert scrape(client)[submitted] == 1
    let_time_pass(service)
    found = scrape(client)
    assert found[submitted] == 2
    with service.runtime.db.read() as session:
        kinds = dict(session.execute(select(Event.kind, func.count()).group_by(Event.kind)).all())
    assert {labels[0][1]: count for (name, labels), count in found.items() if name == "softvote_events_total"} == kinds
