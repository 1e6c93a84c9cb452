import base64
import json

import pytest
from flask.testing import FlaskClient

from tests.app_builders import CLASSES, Service


def test_a_registration_is_accepted_and_can_be_followed(client: FlaskClient, service: Service) -> None:
    (service.data_root / "val").mkdir()
    response = client.post("/api/v1/datasets", json={"path": "val", "name": "imagenet-val"})
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    followed = client.get(response.headers["Location"]).json
    assert followed == response.json
    assert (followed["name"], followed["state"], followed["images"]) == ("imagenet-val", "registering", None)


def test_a_ready_data_set_tells_its_size_and_fingerprint(client: FlaskClient, service: Service) -> None:
    key = service.add_dataset("digits", images=12)
    document = client.get("/api/v1/datasets/digits").json
    assert (document["id"], document["images"], document["classes"]) == (key, 12, 3)
    assert document["class_names"] == list(CLASSES)
    assert len(document["fingerprint"]) == 64


def test_a_path_outside_the_roots_is_refused(client: FlaskClient, service: Service) -> None:
    response = client.post("/api/v1/datasets", json={"path": "/etc", "name": "n"})
    assert (response.status_code, response.json["code"]) == (400, "path_forbidden")


def test_names_are_unique(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits")
    (service.data_root / "other").mkdir()
    response = client.post("/api/v1/datasets", json={"path": "other", "name": "digits"})
    assert (response.status_code, response.json["code"]) == (409, "name_taken")


def test_the_list_is_walked_page_by_page_to_its_end(client: FlaskClient, service: Service) -> None:
    for number in range(3):
        service.request_dataset(f"set-{number}")
    first = client.get("/api/v1/datasets?limit=2").json
    second = client.get(f"/api/v1/datasets?limit=2&cursor={first['next']}").json
    assert [item["name"] for item in first["items"] + second["items"]] == ["set-2", "set-1", "set-0"]
    assert second["next"] is None


def test_images_are_walked_in_canonical_order(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits", images=12)
    images, cursor = [], ""
    for _ in range(3):
        page = client.get(f"/api/v1/datasets/digits/images?limit=5{cursor}").json
        images += page["items"]
        cursor = f"&cursor={page['next']}"
    assert page["next"] is None
    assert [image["index"] for image in images] == list(range(12))
    assert len({image["id"] for image in images}) == 12
    assert all(image["id"].startswith(f"{image['class_name']}/") for image in images)


def test_a_full_last_page_of_images_has_no_next(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits", images=4)
    assert client.get("/api/v1/datasets/digits/images?limit=4").json["next"] is None


def test_images_of_a_data_set_that_nobody_has_read_yet_are_refused(client: FlaskClient, service: Service) -> None:
    service.request_dataset("later")
    response = client.get("/api/v1/datasets/later/images")
    assert (response.status_code, response.json["code"]) == (409, "not_ready")


def test_a_damaged_index_is_an_error_of_the_service(client: FlaskClient, service: Service) -> None:
    service.add_dataset("digits")
    (index,) = (service.runtime.settings.artifacts / "datasets").glob("*.json")
    index.write_bytes(index.read_bytes().replace(b"cat", b"cab"))
    response = client.get("/api/v1/datasets/digits/images")
    assert (response.status_code, response.json["code"]) == (500, "artifact_damaged")


@pytest.mark.parametrize("path", ["/api/v1/datasets/none", "/api/v1/datasets/none/images"])
def test_an_unknown_data_set_is_not_found(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    assert (response.status_code, response.json["code"]) == (404, "not_found")


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "-1",
        "²",
        "9" * 30,
        encoded({}),
        encoded(["yesterday", "id"]),
        encoded(["2026-01-01T00:00:00", "id"]),
        encoded(["2026-01-01T00:00:00+00:00", 1]),
        encoded(["2026-01-01T00:00:00+00:00", "\0"]),
        encoded(["0001-01-01T00:00:00+23:59", "id"]),
    ],
)
def test_a_cursor_that_no_page_gave_out_is_refused(client: FlaskClient, service: Service, cursor: str) -> None:
    service.add_dataset("digits")
    for path in ("checkpoints", "datasets", "evaluations", "events", "datasets/digits/images"):
        response = client.get(f"/api/v1/{path}", query_string={"cursor": cursor})
        assert response.status_code == 422, path
        assert response.json["errors"][0]["pointer"] == "/cursor"


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1.5", ""])
def test_a_page_has_1_to_200_items(client: FlaskClient, limit: str) -> None:
    response = client.get("/api/v1/datasets", query_string={"limit": limit})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == ["/limit"]


def test_a_query_parameter_that_does_not_exist_is_refused(client: FlaskClient) -> None:
    response = client.get("/api/v1/datasets?limits=5")
    assert response.status_code == 422
    assert response.json["errors"] == [
        {"pointer": "/limits", "code": "unknown_field", "message": "no such field; got '5'"}
    ]


def test_a_repeated_registration_with_its_key_is_answered_like_the_first(client: FlaskClient, service: Service) -> None:
    (service.data_root / "photos").mkdir()
    body, headers = {"path": "photos", "name": "photos"}, {"Idempotency-Key": "once"}
    first, again = (client.post("/api/v1/datasets", json=body, headers=headers) for _ in range(2))
    assert (again.status_code, again.json, again.headers["Location"]) == (202, first.json, first.headers["Location"])
    other = client.post("/api/v1/datasets", json={**body, "name": "other"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (409, "idempotency_conflict")
    taken = client.post("/api/v1/datasets", json=body)
    assert (taken.status_code, taken.json["code"]) == (409, "name_taken")
