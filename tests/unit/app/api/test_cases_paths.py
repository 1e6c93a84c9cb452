"""Case F46: hostile paths. What is forbidden and what does not exist get the same answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.errors import InvalidRequestError, PathForbiddenError
from app.representations.requests import DatasetRequest
from app.services import datasets
from app.services.paths import allowed_path
from tests.app_builders import Service
from tests.builders import encoded, photo, write_folder

IMAGE = encoded(photo(8, 6))

HOSTILE = {
    "parent": "../secret",
    "parent deep inside": "photos/../../secret",
    "parent of the root itself": "..",
    "encoded once": "%2e%2e/secret",
    "encoded twice": "%2e%2e%252fsecret",
    "backslashes": "..\\secret",
    "absolute": "/etc",
    "process": "/proc/self/environ",
    "process's root": "/proc/self/root",
    "link out": "link",
    "through a link out": "link/ant",
    "link in a circle": "loop",
    "folder that begins like the root": "../dataEVIL",
    "home": "~/secret",
    "file url": "file:///etc/passwd",
    "device": "/dev/zero",
    "FIFO": "pipe.csv",
    "far too long": "a" * 4096,
    "missing manifest": "absent.csv",
}


@pytest.fixture
def service_with_traps(service: Service) -> Service:
    """Something to find on every way out of the data root, and one data set inside."""
    root = service.data_root
    write_folder(root, {"photos/ant/1.jpg": IMAGE})
    write_folder(root.parent, {"secret/ant/1.jpg": IMAGE, f"{root.name}EVIL/ant/1.jpg": IMAGE})
    (root / "link").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    os.mkfifo(root / "pipe.csv")
    return service


def answer(client: FlaskClient, field: str, path: str) -> tuple[int, dict[str, Any]]:
    body = {"path": "photos", "name": "n", "format": "imagenet_val"} if field == "devkit" else {"name": "n"}
    response = client.post("/api/v1/datasets", json={**body, field: path})
    document: dict[str, Any] = response.json
    return response.status_code, document


@pytest.mark.parametrize("field", ["path", "devkit"])
@pytest.mark.parametrize("case", HOSTILE)
def test_f46_a_hostile_path_is_answered_like_a_missing_one(
    client: FlaskClient, service_with_traps: Service, case: str, field: str
) -> None:
    status, document = answer(client, field, HOSTILE[case])
    assert (status, document["code"]) == (400, "path_forbidden")
    assert [error["pointer"] for error in document["errors"]] == [f"/{field}"]
    missing = answer(client, field, "missing")
    for shown in (document, missing[1]):
        # All that may differ is the path that the client sent.
        shown["detail"] = shown["errors"][0]["message"] = shown["detail"].partition("; got ")[0]
    assert (status, document) == missing
    assert client.get("/api/v1/datasets").json["items"] == []


@pytest.mark.parametrize("path", ["photos\x00", "\x00", ""])
def test_f46_what_can_be_no_path_is_an_invalid_request(
    client: FlaskClient, service_with_traps: Service, path: str
) -> None:
    status, document = answer(client, "path", path)
    assert (status, document["code"]) == (422, "invalid_request")
    assert [error["pointer"] for error in document["errors"]] == ["/path"]


def test_f46_a_path_that_is_not_text_is_an_invalid_request(client: FlaskClient, service_with_traps: Service) -> None:
    body = '{"name": "n", "path": "caf\\udce9"}'
    response = client.post("/api/v1/datasets", data=body, content_type="application/json")
    assert response.status_code in (400, 422)
    assert response.json["code"] in ("malformed_json", "invalid_request")


@pytest.mark.parametrize("path", ["photos", "./photos", "photos/../photos", "photos/"])
def test_f46_paths_that_stay_inside_are_taken(client: FlaskClient, service_with_traps: Service, path: str) -> None:
    response = client.post("/api/v1/datasets", json={"path": path, "name": "n"})
    assert (response.status_code, response.json["source"]) == (202, str(service_with_traps.data_root / "photos"))


def test_f46_an_absolute_path_below_a_root_is_taken(client: FlaskClient, service_with_traps: Service) -> None:
    path = str(service_with_traps.data_root / "photos")
    assert client.post("/api/v1/datasets", json={"path": path, "name": "n"}).status_code == 202


def test_f46_a_root_that_is_a_link_is_a_root(tmp_path: Path) -> None:
    write_folder(tmp_path / "real", {"photos/ant/1.jpg": IMAGE})
    (tmp_path / "root").symlink_to("real")
    found = allowed_path("photos", [tmp_path / "root"], "SETTING", folder=True, trusted=False)
    assert found == tmp_path / "real" / "photos"
    with pytest.raises(PathForbiddenError):
        allowed_path("photos", [tmp_path / "absent"], "SETTING", folder=True, trusted=False)


def test_f46_a_devkit_that_was_found_outside_the_roots_is_not_used(
    client: FlaskClient, service_with_traps: Service
) -> None:
    root = service_with_traps.data_root
    lists = {"map_clsloc.txt": b"x", "ILSVRC2012_validation_ground_truth.txt": b"1"}
    write_folder(root.parent, {f"devkit/{name}": data for name, data in lists.items()})
    write_folder(root, {"ILSVRC2012_val_00000001.JPEG": IMAGE})
    response = client.post("/api/v1/datasets", json={"path": ".", "name": "n"})
    assert (response.status_code, response.json["errors"][0]["pointer"]) == (422, "/devkit")
    assert str(root.parent / "devkit") not in response.text
    trusted = DatasetRequest(path=str(root), name="n")
    runtime = service_with_traps.runtime
    assert datasets.request_registration(runtime.db, runtime.settings, trusted, trusted=True)


def test_f46_the_operator_is_told_what_is_wrong_with_a_path(service_with_traps: Service) -> None:
    runtime = service_with_traps.runtime
    request = DatasetRequest(path=str(service_with_traps.data_root / "missing"), name="n")
    with pytest.raises(InvalidRequestError, match="an existing file or folder"):
        datasets.request_registration(runtime.db, runtime.settings, request, trusted=True)


def test_a_manifest_is_registered_over_rest(client: FlaskClient, service_with_traps: Service) -> None:
    manifest = service_with_traps.data_root / "photos" / "all.csv"
    manifest.write_text("ant/1.jpg,ant\n")
    response = client.post("/api/v1/datasets", json={"path": "photos/all.csv", "name": "n", "format": "manifest"})
    assert response.status_code == 202
    assert (response.json["source"], response.json["label_source"]) == (str(manifest), str(manifest))


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"format": "manifest"}, "/path"),
        ({"format": "imagenet_val"}, "/devkit"),
        ({"format": "parquet"}, "/format"),
        ({"devkit": "photos"}, "/devkit"),
        ({"path": "photos/ant/1.jpg"}, "/path"),
    ],
)
def test_a_format_that_does_not_fit_the_path_is_named(
    client: FlaskClient, service_with_traps: Service, fields: dict[str, str], pointer: str
) -> None:
    response = client.post("/api/v1/datasets", json={"path": "photos", "name": "n", **fields})
    assert response.status_code == 422
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]
    assert str(service_with_traps.data_root) not in response.text
