"""Equal requests at once, and requests whose answers were lost, through real web processes on both databases."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from sqlalchemy import func, select

from app.db.models import Evaluation, Event
from tests import gunicorn
from tests.catalogue import Catalogue

pytestmark = pytest.mark.slow

AT_ONCE = 50
BODY = {"dataset": "digits", "checkpoints": ["a"], "protocol": {"scales": [32]}}


@pytest.fixture
def address(catalogue: Catalogue, tmp_path: Path) -> Iterator[str]:
    """A server on the database of the catalogue, with a data set and a checkpoint in it."""
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    environment = {"SOFTVOTE_HOME": str(catalogue.home), "SOFTVOTE_DATABASE_URL": catalogue.db.url}
    with gunicorn.serving(environment, tmp_path / "web.log") as served:
        yield served


def post(address: str, key: str, **fields: object) -> httpx.Response:
    headers = {"Idempotency-Key": key}
    return httpx.post(f"{address}/api/v1/evaluations", json={**BODY, **fields}, headers=headers, timeout=60)


def post_at_once(address: str, *priorities: int) -> list[httpx.Response]:
    """As many requests with one key as there are priorities, sent in the same moment."""
    barrier = threading.Barrier(len(priorities))

    def send(priority: int) -> httpx.Response:
        barrier.wait()
        return post(address, "once", priority=priority)

    with ThreadPoolExecutor(len(priorities)) as pool:
        return list(pool.map(send, priorities))


def evaluations_of(catalogue: Catalogue) -> list[str]:
    with catalogue.db.read() as session:
        return list(session.scalars(select(Evaluation.id)))


def test_fifty_equal_posts_at_once_make_one_evaluation_and_all_name_it(catalogue: Catalogue, address: str) -> None:
    answers = post_at_once(address, *[5] * AT_ONCE)
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE}
    (made,) = evaluations_of(catalogue)
    assert {answer.json()["id"] for answer in answers} == {made}
    assert {answer.headers["Location"] for answer in answers} == {f"/api/v1/evaluations/{made}"}
    with catalogue.db.read() as session:
        submitted = select(func.count()).select_from(Event).where(Event.kind == "evaluation_submitted")
        assert session.scalars(submitted).one() == 1


def test_of_two_bodies_at_once_with_one_key_one_counts_and_the_other_is_refused(
    catalogue: Catalogue, address: str
) -> None:
    answers = post_at_once(address, *[4, 6] * (AT_ONCE // 2))
    assert Counter(answer.status_code for answer in answers) == {202: AT_ONCE // 2, 409: AT_ONCE // 2}
    refused = [answer.json()["code"] for answer in answers if answer.status_code == 409]
    assert set(refused) == {"idempotency_conflict"}
    assert len(evaluations_of(catalogue)) == 1


def test_a_repeat_after_a_lost_answer_names_the_first_evaluation(catalogue: Catalogue, address: str) -> None:
    parts = urlsplit(address)
    body = json.dumps(BODY).encode()
    head = (
        f"POST /api/v1/evaluations HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: lost\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(head.encode() + body)
        # Closed before the answer is read.
    deadline = time.monotonic() + 30
    while not (made := evaluations_of(catalogue)) and time.monotonic() < deadline:
        time.sleep(0.05)
    again = [post(address, "lost") for _ in range(3)]
    assert {(answer.status_code, answer.json()["id"]) for answer in again} == {(202, made[0])}
    assert evaluations_of(catalogue) == made
    other = post(address, "lost", limit=7)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")


def test_a_request_that_was_refused_leaves_its_key_free(catalogue: Catalogue, address: str) -> None:
    assert post(address, "again", dataset="digit").status_code == 422
    assert post(address, "again").status_code == 202
