"""ETags of single resources, conditional reads, and edits that name the version they were made on."""

import pytest
from flask.testing import FlaskClient
from flask_openapi.openapi import OpenAPI

from tests.app_builders import Service

CHECKPOINT = "/api/v1/checkpoints/vgg-a"


@pytest.fixture
def etag(client: FlaskClient, service: Service) -> str:
    """Of the checkpoint as it was registered."""
    service.add_checkpoint("vgg-a")
    return client.get(CHECKPOINT).headers["ETag"]


@pytest.mark.parametrize("path", ["/checkpoints/vgg-a", "/datasets/digits"])
def test_a_known_version_costs_an_empty_answer_and_an_older_one_the_whole(
    client: FlaskClient, service: Service, path: str
) -> None:
    service.add_checkpoint("vgg-a")
    service.add_dataset("digits")
    first = client.get(f"/api/v1{path}")
    tag = first.headers["ETag"]
    assert tag.startswith('"')  # strong: equal for equal bytes
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(f"/api/v1{path}", headers={"If-None-Match": known})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag), known
    other = client.get(f"/api/v1{path}", headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, first.data)


def test_the_etag_changes_with_the_document(client: FlaskClient, etag: str) -> None:
    changed = client.patch(CHECKPOINT, json={"notes": "n"})
    assert changed.headers["ETag"] not in (etag, "")
    assert client.get(CHECKPOINT).headers["ETag"] == changed.headers["ETag"]


@pytest.mark.parametrize("form", ["{}", '"other", {}', "*"])
def test_an_edit_of_the_present_version_is_made(client: FlaskClient, etag: str, form: str) -> None:
    response = client.patch(CHECKPOINT, json={"notes": "n"}, headers={"If-Match": form.format(etag)})
    assert (response.status_code, response.json["notes"]) == (200, "n")


@pytest.mark.parametrize("form", ['"other"', "W/{}", '""', "{}0", "nonsense"])
def test_an_edit_of_another_version_is_refused_and_changes_nothing(client: FlaskClient, etag: str, form: str) -> None:
    """A weak ETag never matches: it does not promise equal bytes."""
    response = client.patch(CHECKPOINT, json={"notes": "n"}, headers={"If-Match": form.format(etag)})
    assert (response.status_code, response.json["code"]) == (412, "precondition_failed")
    assert etag in response.json["detail"]
    after = client.get(CHECKPOINT)
    assert (after.json["notes"], after.headers["ETag"]) == ("", etag)


def test_without_if_match_a_checkpoint_is_edited_whichever_it_is(client: FlaskClient, etag: str) -> None:
    assert client.patch(CHECKPOINT, json={"notes": "n"}).status_code == 200


def test_edits_that_take_if_match_say_so_in_the_document(app: OpenAPI) -> None:
    operation = app.api_doc["paths"]["/api/v1/checkpoints/{key}"]["patch"]
    assert ("If-Match", False) in [(p["name"], p["required"]) for p in operation["parameters"] if p["in"] == "header"]
    assert {"412"} <= set(operation["responses"])
    assert set(operation["responses"]["200"]["headers"]) == {"ETag"}
