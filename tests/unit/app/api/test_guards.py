from io import BytesIO

import pytest
from flask.testing import FlaskClient

from app.factory import MAX_BODY_BYTES
from tests.app_builders import Service

URL = "/api/v1/evaluations"
JSON = "application/json"


@pytest.mark.parametrize(
    "content_type", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
)
def test_a_type_that_browsers_send_without_asking_first_is_refused(
    client: FlaskClient, content_type: str | None
) -> None:
    for path in (URL, f"{URL}/x/cancel", f"{URL}/x/retry", "/api/v1/checkpoints", "/api/v1/datasets"):
        response = client.post(path, data='{"dataset": "d"}', content_type=content_type)
        assert (response.status_code, response.json["code"]) == (415, "json_required"), path


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none-such"])
def test_a_request_that_another_site_caused_is_refused(client: FlaskClient, site: str) -> None:
    calls = {"POST": f"{URL}/x/cancel", "PATCH": "/api/v1/checkpoints/x", "DELETE": "/api/v1/checkpoints/x"}
    for method, path in calls.items():
        response = client.open(path, method=method, json={}, headers={"Sec-Fetch-Site": site})
        assert (response.status_code, response.json["code"]) == (403, "cross_site_request"), method


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:81", "null", ""])
def test_a_request_from_another_origin_is_refused(client: FlaskClient, origin: str) -> None:
    response = client.post(f"{URL}/x/cancel", json={}, headers={"Origin": origin})
    assert (response.status_code, response.json["code"]) == (403, "cross_site_request")


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, {"Sec-Fetch-Site": "none"}]
)
def test_a_request_from_this_origin_passes(client: FlaskClient, headers: dict[str, str]) -> None:
    assert client.post(f"{URL}/x/cancel", json={}, headers=headers).status_code == 404


def test_reading_needs_no_origin(client: FlaskClient) -> None:
    response = client.get(URL, headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"})
    assert response.status_code == 200
    # Without this header no script of another site sees the answer.
    assert "Access-Control-Allow-Origin" not in response.headers


def test_a_preflight_is_never_granted(client: FlaskClient) -> None:
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = client.options(URL, headers=asks)
    assert not [name for name, _ in response.headers if name.lower().startswith("access-control-")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "line 1 column 2"),
        (b"", "an empty body"),
        (b"null", "got None"),
        (b"[1]", "got [1]"),
        (b'"text"', "got 'text'"),
        (b"\xff\xfe{", "JSON"),
        (b'{"priority": NaN}', "NaN is not a JSON number"),
        (b'{"priority": -Infinity}', "-Infinity is not a JSON number"),
        (b'{"limit": ' + b"9" * 5000 + b"}", "JSON"),
        (b'{"protocol": ' + b'{"a":' * 40 + b"1" + b"}" * 40 + b"}", "32 levels"),
        (b"[" * 100_000, "32 levels"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(client: FlaskClient, body: bytes, reason: str) -> None:
    response = client.post(URL, data=body, content_type=JSON)
    assert (response.status_code, response.json["code"]) == (400, "malformed_json")
    assert reason in response.json["detail"]


def test_json_inside_a_json_string_is_not_unwrapped(client: FlaskClient) -> None:
    response = client.post(URL, data=b'"{\\"dataset\\": \\"d\\", \\"checkpoints\\": [\\"c\\"]}"', content_type=JSON)
    assert (response.status_code, response.json["code"]) == (400, "malformed_json")


def test_a_body_above_the_cap_is_refused(client: FlaskClient) -> None:
    response = client.post(URL, data=b'{"a":"' + b"a" * MAX_BODY_BYTES + b'"}', content_type=JSON)
    assert (response.status_code, response.json["code"]) == (413, "body_too_large")


def test_a_body_above_the_cap_that_comes_in_chunks_is_refused(client: FlaskClient) -> None:
    # Valid up to the cap, where it would be cut.
    body = b'{"dataset": "d", "checkpoints": ["c"]}'.ljust(MAX_BODY_BYTES) + b"more"
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    response = client.post(URL, input_stream=BytesIO(body), content_type=JSON, environ_overrides=chunked)
    assert (response.status_code, response.json["code"]) == (413, "body_too_large")


def test_a_refused_value_is_not_echoed_whole(client: FlaskClient) -> None:
    response = client.post(URL, json={"dataset": ["x" * 500_000], "checkpoints": ["a"]})
    assert response.status_code == 422
    assert len(response.data) < 1500


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.168.0.7",
        "",
        "[::1",
        "a@localhost@b",
    ],
)
def test_a_hostile_host_header_is_refused_everywhere(client: FlaskClient, host: str) -> None:
    for path in ("/api/v1/evaluations", "/healthz", "/", "/api/docs", "/nothing"):
        response = client.get(path, headers={"Host": host})
        assert (response.status_code, response.json["code"]) == (400, "foreign_host"), path


@pytest.mark.parametrize("host", ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080", "LOCALHOST"])
def test_this_machines_own_names_are_answered(client: FlaskClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


def test_control_characters_in_addresses_are_refused(client: FlaskClient, service: Service) -> None:
    for path in (
        "/api/v1/checkpoints/a%00b",
        "/api/v1/evaluations/%00",
        "/api/v1/checkpoints?search=%00",
        "/api/v1/events?subject=%0a",
    ):
        response = client.get(path)
        assert (response.status_code, response.json["code"]) == (422, "invalid_request"), path
