import pytest
from flask.testing import FlaskClient

from tests.app_builders import Service


def test_a_registration_is_accepted_and_can_be_followed(client: FlaskClient, service: Service) -> None:
    (service.checkpoint_root / "vgg16.safetensors").write_bytes(b"weights")
    body = {
        "path": "vgg16.safetensors",
        "name": "vgg16",
        "training_scale": "256-512",
        "tags": ["paper"],
        "notes": "a\nb",
    }
    response = client.post("/api/v1/checkpoints", json=body)
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    assert response.headers["Location"] == f"/api/v1/checkpoints/{response.json['id']}"
    followed = client.get(response.headers["Location"]).json
    assert (followed["name"], followed["state"], followed["tags"]) == ("vgg16", "registering", ["paper"])
    assert followed == response.json


def test_a_checkpoint_is_found_by_id_and_by_name(client: FlaskClient, service: Service) -> None:
    key = service.add_checkpoint("vgg-a")
    by_id, by_name = client.get(f"/api/v1/checkpoints/{key}"), client.get("/api/v1/checkpoints/vgg-a")
    assert by_id.status_code == 200
    assert by_id.json == by_name.json
    assert by_id.json["training_scale"] == [32, 64]


def test_an_unknown_checkpoint_is_answered_with_near_names(client: FlaskClient, service: Service) -> None:
    service.add_checkpoint("digits-d")
    response = client.get("/api/v1/checkpoints/digts-d")
    assert (response.status_code, response.json["code"]) == (404, "not_found")
    assert "did you mean digits-d?" in response.json["detail"]


def test_the_list_is_walked_page_by_page_to_its_end(client: FlaskClient, service: Service) -> None:
    names = [f"net-{number}" for number in range(5)]
    for name in names:
        service.request_checkpoint(name)
    seen, cursor = [], None
    for _ in range(3):
        page = client.get(
            "/api/v1/checkpoints", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json
        seen += [item["name"] for item in page["items"]]
        cursor = page["next"]
    assert cursor is None
    assert seen == names[::-1]


def test_the_list_is_searched(client: FlaskClient, service: Service) -> None:
    service.request_checkpoint("alpha", tags=["old"])
    service.request_checkpoint("beta", tags=["new"])
    for search, expected in (("lph", ["alpha"]), ("new", ["beta"]), ("nothing", []), ("%", [])):
        found = client.get("/api/v1/checkpoints", query_string={"search": search}).json["items"]
        assert [item["name"] for item in found] == expected, search


def test_the_layer_table_sums_to_the_parameters(client: FlaskClient, service: Service) -> None:
    service.add_checkpoint("vgg-a")
    layers = client.get("/api/v1/checkpoints/vgg-a/layers").json["items"]
    total = client.get("/api/v1/checkpoints/vgg-a").json["parameters"]
    assert sum(layer["parameters"] for layer in layers) == total


def test_a_checkpoint_that_nobody_has_read_yet_has_no_layer_table(client: FlaskClient, service: Service) -> None:
    service.request_checkpoint("later")
    response = client.get("/api/v1/checkpoints/later/layers")
    assert (response.status_code, response.json["code"]) == (409, "not_ready")


def test_a_failed_registration_shows_its_error(client: FlaskClient, service: Service) -> None:
    service.request_checkpoint("broken")
    service.fail_registration("checkpoint_corrupt", "truncated")
    document = client.get("/api/v1/checkpoints/broken").json
    assert document["state"] == "failed"
    assert document["error"] == {"code": "checkpoint_corrupt", "message": "truncated"}


def test_name_notes_and_tags_can_be_changed(client: FlaskClient, service: Service) -> None:
    key = service.add_checkpoint("old")
    response = client.patch("/api/v1/checkpoints/old", json={"name": "new", "notes": "n", "tags": ["t"]})
    assert response.status_code == 200
    assert (response.json["id"], response.json["name"]) == (key, "new")
    assert (response.json["notes"], response.json["tags"]) == ("n", ["t"])
    assert client.get("/api/v1/checkpoints/new").json == response.json


def test_what_a_checkpoint_computes_cannot_be_changed(client: FlaskClient, service: Service) -> None:
    service.add_checkpoint("vgg-a")
    response = client.patch("/api/v1/checkpoints/vgg-a", json={"preprocessing": "caffe-vgg"})
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/preprocessing"
    assert response.json["errors"][0]["code"] == "unknown_field"


def test_names_are_unique(client: FlaskClient, service: Service) -> None:
    service.add_checkpoint("taken")
    service.add_checkpoint("other")
    (service.checkpoint_root / "w.pth").write_bytes(b"w")
    registered = client.post("/api/v1/checkpoints", json={"path": "w.pth", "name": "taken"})
    renamed = client.patch("/api/v1/checkpoints/other", json={"name": "taken"})
    for response in (registered, renamed):
        assert (response.status_code, response.json["code"]) == (409, "name_taken")


def test_a_checkpoint_is_deleted_only_while_nothing_uses_it(client: FlaskClient, service: Service) -> None:
    service.add_dataset()
    service.add_checkpoint("used")
    service.add_checkpoint("unused")
    service.submit("used")
    refused = client.delete("/api/v1/checkpoints/used")
    assert (refused.status_code, refused.json["code"]) == (409, "in_use")
    assert client.delete("/api/v1/checkpoints/unused").status_code == 204
    assert client.get("/api/v1/checkpoints/unused").status_code == 404
    assert client.delete("/api/v1/checkpoints/unused").status_code == 404


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "missing.pth", "a/../../secret", "folder", "link"])
def test_a_forbidden_path_looks_like_a_missing_one(client: FlaskClient, service: Service, path: str) -> None:
    (service.checkpoint_root.parent / "secret").write_bytes(b"s")
    (service.checkpoint_root / "folder").mkdir()
    (service.checkpoint_root / "link").symlink_to("/etc/passwd")
    response = client.post("/api/v1/checkpoints", json={"path": path, "name": "n"})
    assert (response.status_code, response.json["code"]) == (400, "path_forbidden")
    assert response.json["errors"][0]["pointer"] == "/path"
    same = client.post("/api/v1/checkpoints", json={"path": "missing.pth", "name": "n"})
    assert response.json["detail"].replace(repr(path), "") == same.json["detail"].replace("'missing.pth'", "")


def test_every_wrong_field_of_a_registration_is_named_at_once(client: FlaskClient) -> None:
    body = {"name": "a\x00b", "path": "x\x00", "notes": "\x00", "colour": "red"}
    response = client.post("/api/v1/checkpoints", json=body)
    assert response.status_code == 422
    pointers = {error["pointer"]: error["code"] for error in response.json["errors"]}
    assert pointers == {
        "/name": "invalid_value",
        "/path": "invalid_value",
        "/notes": "invalid_value",
        "/colour": "unknown_field",
    }


def test_a_missing_field_is_named(client: FlaskClient) -> None:
    response = client.post("/api/v1/checkpoints", json={"path": "w.pth"})
    assert response.json["errors"] == [
        {"pointer": "/name", "code": "missing_field", "message": "this field is required; got nothing"}
    ]


def test_a_wrong_training_scale_is_named(client: FlaskClient, service: Service) -> None:
    (service.checkpoint_root / "w.pth").write_bytes(b"w")
    response = client.post("/api/v1/checkpoints", json={"path": "w.pth", "name": "n", "training_scale": "512-256"})
    assert response.status_code == 422
    assert response.json["errors"][0]["pointer"] == "/training_scale"


def test_predictions_are_imported_by_path_below_the_roots(client: FlaskClient, service: Service) -> None:
    service.add_dataset()
    (service.checkpoint_root / "vit.npz").write_bytes(b"PK")
    body = {"path": "vit.npz", "name": "vit", "dataset": "digits", "kind": "logits"}
    answer = client.post("/api/v1/predictions", json=body)
    assert answer.status_code == 202
    assert (answer.json["state"], answer.json["architecture"]) == ("registering", "imported")
    assert client.get(answer.headers["Location"]).json["name"] == "vit"
    key = {"Idempotency-Key": "once"}
    first, again = (client.post("/api/v1/predictions", json={**body, "name": "x"}, headers=key) for _ in range(2))
    assert first.json["id"] == again.json["id"]
    for fields, code in (
        ({"path": "../x.npz"}, "path_forbidden"),
        ({"dataset": "letters"}, "not_found"),
        ({}, "name_taken"),
        ({"kind": "scores"}, "invalid_request"),
    ):
        assert client.post("/api/v1/predictions", json={**body, **fields}).json["code"] == code
    service.request_dataset("letters")
    unready = client.post("/api/v1/predictions", json={**body, "name": "w", "dataset": "letters"})
    assert (unready.status_code, unready.json["code"]) == (409, "not_ready")
