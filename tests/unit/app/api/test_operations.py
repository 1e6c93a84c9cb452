import shutil

from flask.testing import FlaskClient

from app.db import migrations
from app.services import workers
from tests.app_builders import Service


def test_live_workers_come_first(client: FlaskClient, service: Service) -> None:
    running = service.add_worker("cpu@one")
    stopped = service.add_worker("cpu@two")
    workers.stop(service.runtime.db, stopped)
    items = client.get("/api/v1/workers").json["items"]
    assert [(item["id"], item["alive"]) for item in items] == [(running, True), (stopped, False)]


def test_events_tell_the_history_newest_first(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits")
    service.add_checkpoint("one")
    evaluation = service.submit("one")
    client.post(f"/api/v1/evaluations/{evaluation}/cancel", json={})
    service.submit("one")
    kinds = [item["kind"] for item in client.get(f"/api/v1/events?evaluation={evaluation}").json["items"]]
    assert kinds == ["evaluation_cancelled", "evaluation_submitted"]


def test_events_are_walked_page_by_page_to_their_end(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits")
    everything = [item["id"] for item in client.get("/api/v1/events?limit=200").json["items"]]
    seen, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/api/v1/events?limit=1{cursor}").json
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert seen == everything
    assert len(seen) > 2


def test_a_process_that_answers_is_healthy(client: FlaskClient) -> None:
    assert client.get("/healthz").json == {"status": "ok"}


def test_a_service_with_its_database_is_ready(client: FlaskClient) -> None:
    assert client.get("/readyz").json == {"status": "ready"}


def test_a_service_without_its_database_is_alive_and_not_ready(client: FlaskClient, service: Service) -> None:
    service.runtime.db.dispose()
    shutil.rmtree(service.runtime.settings.home)
    response = client.get("/readyz")
    assert (response.status_code, response.json["code"]) == (503, "database_unavailable")
    assert int(response.headers["Retry-After"]) > 0
    assert client.get("/api/v1/checkpoints").status_code == 503
    assert client.get("/healthz").status_code == 200


def test_a_service_whose_schema_is_not_at_head_is_not_ready(client: FlaskClient, service: Service) -> None:
    migrations.downgrade(service.runtime.settings.database_url, "base")
    response = client.get("/readyz")
    assert (response.status_code, response.json["code"]) == (503, "schema_outdated")
