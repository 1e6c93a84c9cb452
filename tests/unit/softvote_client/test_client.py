"""The client against a real server: answers, errors, and requests that get lost."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import make_server

from app.db.queries import evaluations as evaluation_queries
from app.factory import create_app
from app.runtime import Runtime
from ensembles.configurations import Architecture
from softvote_client import (
    ApiError,
    ConflictError,
    Evaluation,
    EvaluationFailedError,
    InvalidRequestError,
    NotFoundError,
    RegistrationFailedError,
    ServerFaultError,
    Softvote,
    UnreachableError,
    WaitTimeoutError,
)
from tests.app_builders import make_runtime
from tests.history import History

ROOT = Path(__file__).parents[3]


@dataclass
class Door:
    """Stands before the application: notes what comes in and out, and turns away the first `busy` requests."""

    application: Any
    busy: int = 0
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    statuses: list[str] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        headers = {name: str(environ.get(f"HTTP_{name}", "")) for name in ("AUTHORIZATION", "IDEMPOTENCY_KEY")}
        self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], headers))
        if self.busy:
            self.busy -= 1
            start_response("503 Service Unavailable", [("Retry-After", "0"), ("Content-Type", "text/html")])
            return [b"<h1>restarting</h1>"]

        def noted(status: str, *rest: Any) -> Any:
            self.statuses.append(status[:3])
            return start_response(status, *rest)

        return self.application(environ, noted)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    runtime = make_runtime(tmp_path_factory.mktemp("client") / "home")
    history = History(runtime, macs_per_second=1e18)
    history.dataset("digits", images=1000, classes=tuple("0123456789"))
    for name in ("digits-d", "digits-e"):
        history.checkpoint(name, Architecture("A", width=0.125, classes=10, crop=32), (32, 48))
    yield runtime
    runtime.db.dispose()


@pytest.fixture
def history(runtime: Runtime) -> History:
    return History(runtime, macs_per_second=1e18)


@pytest.fixture
def door(runtime: Runtime) -> Door:
    return Door(create_app(runtime))


@contextmanager
def served(door: Door) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, door, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def url(door: Door) -> Iterator[str]:
    with served(door) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(url: str) -> Iterator[Softvote]:
    with Softvote(url, token="t0ken") as softvote:
        yield softvote


@contextmanager
def losing_the_first_answer(port: int) -> Iterator[str]:
    """A way to the server on which the first request arrives and its answer does not."""
    lost = []
    with socket.create_server(("127.0.0.1", 0)) as entrance:

        def carry() -> None:
            while True:
                try:
                    inside, _ = entrance.accept()
                except OSError:
                    return
                with inside, socket.create_connection(("127.0.0.1", port)) as outside:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        request += inside.recv(65536)
                    head, _, body = request.partition(b"\r\n\r\n")
                    length = re.search(rb"(?i)content-length: (\d+)", head)
                    while length and len(body) < int(length[1]):
                        body += inside.recv(65536)
                    outside.sendall(
                        re.sub(rb"(?i)connection: keep-alive", b"Connection: close", head) + b"\r\n\r\n" + body
                    )
                    answer = b"".join(iter(lambda: outside.recv(65536), b""))
                    if lost:
                        inside.sendall(answer)
                    lost.append(answer)

        thread = threading.Thread(target=carry)
        thread.start()
        yield f"http://127.0.0.1:{entrance.getsockname()[1]}"
        entrance.shutdown(socket.SHUT_RDWR)
    thread.join()


@contextmanager
def working(history: History, wrong: int) -> Iterator[None]:
    """Somebody works off what is submitted; every score has `wrong` images wrong, the ensemble ten fewer."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.05):
            with history.runtime.db.read() as session:
                queued = evaluation_queries.list_page(session, cursor=None, limit=5, status="queued").items
            for item in queued:
                history.predict()
                with history.runtime.db.read() as session:
                    views = len(evaluation_queries.get(session, item.id).views)
                members = len(item.checkpoints)
                history.finish(item.id, [wrong] * (views + (members if views > members else 0)) + [wrong - 10])

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def evaluations_of(runtime: Runtime) -> int:
    with runtime.db.read() as session:
        return len(evaluation_queries.list_page(session, cursor=None, limit=200).items)


def pair(history: History, *wrong: int) -> str:
    """A finished evaluation of both checkpoints at one scale."""
    key = history.submit(dataset="digits", checkpoints=["digits-d", "digits-e"], protocol={"scales": [40]})
    history.predict()
    history.finish(key, list(wrong))
    return key


def test_the_example_of_the_docs_runs(history: History, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/client.md").read_text(encoding="utf-8"), re.DOTALL)
    with working(history, wrong=60):
        exec(compile(example.replace("http://127.0.0.1:8080", url), "docs/client.md", "exec"), {})  # noqa: S102 - ours
    printed = capsys.readouterr().out
    assert "10.00 % [" in printed
    assert "on 500 images" in printed
    assert re.search(r"^(pass|fail|inconclusive) ", printed, re.MULTILINE)
    assert "top1_error -0.02" in printed


def test_what_was_submitted_is_followed_to_its_scores(history: History, client: Softvote, door: Door) -> None:
    seen: list[Evaluation] = []
    evaluation = client.submit("digits", ["digits-d"], protocol={"scales": [36]}, priority=7)
    assert (evaluation.status, evaluation.priority, evaluation.ended) == ("queued", 7, False)
    timer = threading.Timer(1.0, lambda: (history.predict(), history.finish(evaluation.id, [80])))
    timer.start()
    ended = client.wait(evaluation.id, timeout=60, on_progress=seen.append)
    timer.join()
    assert ended.status == "succeeded"
    assert [one.ended for one in seen][-1]
    # While nothing changed, the server sent nothing.
    assert "304" in door.statuses
    assert len(seen) < len([path for _, path, _ in door.seen if path.endswith(evaluation.id)])
    top1 = next(score for score in client.scores(evaluation.id) if score.metric == "top1_error")
    assert (top1.subject, top1.subject_name, top1.value, top1.n) == ("checkpoint", "digits-d", 0.08, 1000)
    assert evaluation.id in [row.id for row in client.evaluations(status="succeeded")]
    assert all(headers["AUTHORIZATION"] == "Bearer t0ken" for _, _, headers in door.seen)


def test_waiting_ends_in_time_and_tells_a_failure(history: History, client: Softvote) -> None:
    slow = client.submit("digits", ["digits-d"], protocol={"scales": [44]})
    with pytest.raises(WaitTimeoutError, match="has not ended within 0"):
        client.wait(slow.id, timeout=0.3)
    assert client.cancel(slow.id).status == "cancelled"
    with pytest.raises(EvaluationFailedError, match="cancelled") as caught:
        client.wait(slow.id)
    assert caught.value.evaluation.id == slow.id
    assert client.retry(slow.id).status == "queued"
    history.fail_slice("nonfinite_output", "a NaN")
    with pytest.raises(EvaluationFailedError, match=r"a NaN \[nonfinite_output\]"):
        client.wait(slow.id, timeout=10)


def test_sides_are_compared_judged_and_promoted(history: History, client: Softvote) -> None:
    key = pair(history, 120, 90, 80)
    (one,) = client.compare(f"{key}:digits-d", [key], ["top1_error"]).pairs
    assert (one.candidate, one.difference, one.verdict) == (key, -0.04, "better")
    client.promote("in use", f"{key}:digits-d", note="v1")
    baseline = next(one for one in client.baselines() if one.name == "in use")
    assert (baseline.evaluation, baseline.note) == (key, "v1")
    gate = client.gate("in use", key, margin=0.01, classes=["1", "2", "3"])
    assert (gate.verdict, gate.classes, gate.baseline_reference) == ("pass", ["1", "2", "3"], f"{key}:digits-d")
    assert gate in list(client.gates(candidate=key, verdict="pass"))
    assert client.junit(gate.id).startswith("<?xml")
    assert client.markdown(gate.id).startswith("### Softvote: PASS")
    client.forget_baseline("in use")
    with pytest.raises(NotFoundError):
        client.forget_baseline("in use")


def test_the_catalogue_is_read_and_added_to(runtime: Runtime, history: History, client: Softvote) -> None:
    assert {one.name for one in client.checkpoints()} >= {"digits-d", "digits-e"}
    assert client.checkpoint("digits-d").classes == 10
    assert client.dataset("digits").images == 1000
    assert [one.name for one in client.datasets()] == ["digits"]
    (runtime.settings.checkpoint_roots[0] / "broken.safetensors").write_bytes(b"x")
    assert (
        client.add_checkpoint("broken.safetensors", "later", wait=None, training_scale="32-48").state == "registering"
    )
    with pytest.raises(WaitTimeoutError):
        client.add_dataset(str(runtime.settings.data_roots[0]), "pictures", wait=0.3)
    history.fail_registration("fuse", "dataset_empty", "no image")
    history.fail_registration("predict", "checkpoint_corrupt", "one byte")
    with pytest.raises(ConflictError) as taken:
        client.add_checkpoint("broken.safetensors", "digits-d", wait=1)
    assert taken.value.code == "name_taken"
    timer = threading.Timer(0.5, lambda: history.fail_registration("predict", "checkpoint_corrupt", "one byte"))
    timer.start()
    with pytest.raises(RegistrationFailedError, match=r"one byte \[checkpoint_corrupt\]"):
        client.add_checkpoint("broken.safetensors", "worse", wait=30)
    timer.join()


def test_a_refusal_is_an_error_of_its_kind_with_the_servers_words(client: Softvote) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.evaluation("no such?id")
    assert (missing.value.status, missing.value.code) == (404, "not_found")
    with pytest.raises(InvalidRequestError) as invalid:
        client.submit("digits", ["digits-d"], limit=0)
    assert [item["pointer"] for item in invalid.value.problem["errors"]] == ["/limit"]
    assert "/limit" in str(invalid.value)
    with pytest.raises(InvalidRequestError, match="did you mean digits"):
        client.submit("digit", ["digits-d"])
    assert issubclass(NotFoundError, ApiError)


def test_an_answer_that_is_lost_starts_nothing_twice(runtime: Runtime, door: Door) -> None:
    before = evaluations_of(runtime)
    with served(door) as port, losing_the_first_answer(port) as way, Softvote(way, timeout=5) as softvote:
        evaluation = softvote.submit("digits", ["digits-e"], protocol={"scales": [52]})
        posts = [headers["IDEMPOTENCY_KEY"] for method, _, headers in door.seen if method == "POST"]
        assert len(posts) == 2
        assert posts[0] == posts[1] != ""
        assert evaluations_of(runtime) == before + 1
        softvote.cancel(evaluation.id)


def test_a_verdict_whose_answer_is_lost_is_given_once(history: History, door: Door) -> None:
    key = pair(history, 120, 90, 80)
    with served(door) as port, losing_the_first_answer(port) as way, Softvote(way, timeout=5) as softvote:
        gate = softvote.gate(f"{key}:digits-d", key)
        assert [method for method, path, _ in door.seen if path.endswith("/gates")] == ["POST", "POST"]
        assert list(softvote.gates(candidate=key)) == [gate]


def test_what_may_have_arrived_and_has_no_key_is_not_sent_twice(door: Door) -> None:
    with served(door) as port, losing_the_first_answer(port) as way, Softvote(way, timeout=5) as softvote:
        with pytest.raises(UnreachableError):
            softvote.cancel("0" * 24)
        assert [method for method, _, _ in door.seen] == ["POST"]


def test_a_server_that_is_restarting_is_asked_again_and_in_the_end_given_up(door: Door, client: Softvote) -> None:
    door.busy = 2
    assert client.dataset("digits").name == "digits"
    assert len(door.seen) == 3
    door.busy = 100
    client.transport.retries = 1
    with pytest.raises(UnreachableError, match="503"):
        client.dataset("digits")
    door.busy = 0


def test_where_nothing_listens_or_something_else_does_it_is_said(url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with (
        Softvote(f"http://127.0.0.1:{free}", retries=1) as nobody,
        pytest.raises(UnreachableError, match="nothing answers"),
    ):
        nobody.baselines()
    with Softvote(f"{url}/api/docs", retries=0) as other, pytest.raises((UnreachableError, NotFoundError)):
        other.baselines()


def test_a_fault_of_the_server_is_told_from_one_of_the_request() -> None:
    from softvote_client.errors import error_of

    assert isinstance(error_of(507, {"code": "storage_full"}), ServerFaultError)
    assert type(error_of(418, {})) is ApiError
    assert error_of(418, {}).code == "http_418"
