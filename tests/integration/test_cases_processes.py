"""The fault cases F01, F03, F07, F12, F33 and F34 of processes: killed in between, twice, by an image; short of files.

F01 of a busy child, F02 and F10 are those of tests/nemesis; F04 and F30 lie beside the services, F05 in
test_slices.py, F06 in test_main_job.py, F11 in tests/unit/workers/test_heartbeat.py.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.db.models import Evaluation, PredictionPart
from app.db.queries import workers as worker_queries
from app.services import evaluations
from app.services.leasing import recovery
from ensembles.datasets import scan_image_folder
from tests.integration import forked
from tests.integration.harness import Deployment, deployment
from tests.nemesis.servers import free_port

ONE_VIEW = {"scales": [40]}


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    return forked.forkserver()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """130 images, which are three blocks, three images, and a checkpoint."""
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=130)
        made.add_images("few", count=3)
        made.add_checkpoint("a")
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    port = free_port()
    with deployment(tmp_path, like=filled, settings={"SOFTVOTE_BIND": f"127.0.0.1:{port}"}) as copied:
        yield copied


class Web:
    """A web process that can be killed and started anew."""

    def __init__(self, processes: ForkServerContext, made: Deployment) -> None:
        self._processes, self._environment = processes, dict(made.environment)
        self.host, _, port = made.runtime.settings.bind.rpartition(":")
        self.port = int(port)
        self.start()

    def start(self) -> None:
        self._process = self._processes.Process(target=forked.serve, args=(self._environment,))
        self._process.start()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def post(self, key: str) -> str | None:
        """The id of the evaluation that the key stands for; None when no answer came."""
        body = json.dumps({"dataset": "few", "checkpoints": ["a"], "protocol": ONE_VIEW, "force": True})
        headers = {"Content-Type": "application/json", "Idempotency-Key": key}
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.request("POST", "/api/v1/evaluations", body, headers)
            answer = connection.getresponse()
            document = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        assert answer.status == 202, document
        return str(document["id"])

    def post_until_answered(self, key: str) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.post(key)
            if found is not None:
                return found
            time.sleep(0.02)
        pytest.fail("no answer within 60 s")


def test_f03_a_web_server_killed_during_post_makes_one_evaluation_a_key(
    made: Deployment, processes: ForkServerContext
) -> None:
    chance = random.Random(3)  # noqa: S311 - no secret
    web = Web(processes, made)
    try:
        web.post_until_answered("warm-up")
        took = []
        for number in range(5):
            began = time.monotonic()
            web.post_until_answered(f"undisturbed-{number}")
            took.append(time.monotonic() - began)
        answered: dict[str, set[str]] = {}
        cut_off = 0
        for number in range(25):
            key = f"key-{number}"
            killer = threading.Timer(chance.uniform(0, 1.2 * statistics.median(took)), web.kill)
            killer.start()
            first = web.post(key)
            killer.join()
            web.start()
            cut_off += first is None
            answered[key] = {web.post_until_answered(key), *([first] if first else [])}
    finally:
        web.kill()
    assert cut_off > 0, "no request was struck"
    assert {len(ids) for ids in answered.values()} == {1}
    with made.runtime.db.read() as session:
        rows = {row.idempotency_key: row.id for row in session.scalars(select(Evaluation)).all()}
        assert session.scalars(select(func.count()).select_from(Evaluation)).one() == 25 + 6
    assert {key: {rows[key]} for key in answered} == answered


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_f07_two_signals_in_a_row_end_a_worker_at_once_and_its_work_is_taken_up(
    number: signal.Signals, made: Deployment
) -> None:
    worker = made.start("worker", "worker", "--threads", "1", "--slice-seconds", "3600")
    evaluation_id = made.submit(["a"], protocol={"scales": [40, 48, 56, 64], "modes": ["crops"], "crop_grid": 9})
    made.start("scheduler", "scheduler")
    made.wait(lambda: bool(made.events("part_leased")), "the first lease")
    began = time.monotonic()
    worker.send_signal(number)
    time.sleep(0.2)
    worker.send_signal(number)
    worker.wait(25)
    assert time.monotonic() - began < 20
    made.wait(lambda: nobody_is_alive(made), "the end of the worker to be noticed", timeout=20)
    with made.runtime.db.read() as session:
        parts = session.scalars(select(PredictionPart)).all()
    assert {part.attempts for part in parts} == {0}
    made.stop("scheduler")
    evaluations.cancel(made.runtime.db, evaluation_id)
    again = made.submit(["a"], protocol=ONE_VIEW)
    assert made.run(again).status == "succeeded"


def idle_worker(made: Deployment) -> tuple[subprocess.Popen[bytes], int]:
    """A worker that waits for its first job, and the pid of the child that would do it."""
    worker = made.start("worker", "worker", "--threads", "1")
    made.wait(lambda: "worker_ready" in made.log("worker"), "the worker to be ready")
    # The child is ready a moment before it begins to listen.
    time.sleep(1)
    return worker, int(Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text(encoding="ascii"))


@pytest.mark.parametrize("killed", ["before", "after"])
def test_f01_a_worker_whose_idle_child_was_killed_ends_when_it_is_told_to(killed: str, made: Deployment) -> None:
    worker, child = idle_worker(made)
    if killed == "before":
        os.kill(child, signal.SIGKILL)
        worker.terminate()
    else:
        worker.terminate()
        os.kill(child, signal.SIGKILL)
    assert worker.wait(20) == 0


def test_f01_the_successor_of_an_idle_child_that_was_killed_works_and_ends(made: Deployment) -> None:
    worker, child = idle_worker(made)
    os.kill(child, signal.SIGKILL)
    made.wait(lambda: made.log("worker").count('"worker_ready"') == 2, "its successor")
    made.start("scheduler", "scheduler")
    evaluation_id = made.submit(["a"], "few", protocol=ONE_VIEW)
    # Less than it takes a worker to notice that it is deaf.
    assert made.wait_until_ended(evaluation_id, timeout=40).status == "succeeded"
    worker.terminate()
    assert worker.wait(20) == 0


def nobody_is_alive(made: Deployment) -> bool:
    with made.runtime.db.read() as session:
        held = select(func.count()).select_from(PredictionPart).where(PredictionPart.state == "leased")
        return not worker_queries.alive(session) and session.scalars(held).one() == 0


def test_f12_an_image_that_kills_its_process_is_isolated_and_named_and_the_rest_is_kept(
    filled: Deployment, made: Deployment, processes: ForkServerContext
) -> None:
    poison = scan_image_folder(filled.folder / "data" / "pictures").ids[70]
    evaluation_id = made.submit(["a"], protocol=ONE_VIEW)
    patient = made.submit(["a"], protocol=ONE_VIEW, unreadable="skip")
    crashes = 0
    for _ in range(30):
        process = processes.Process(target=forked.work, args=(dict(made.environment), poison))
        process.start()
        process.join(60)
        recovery.sweep(made.runtime.db)
        if process.exitcode == forked.IDLE:
            break
        assert process.exitcode == -signal.SIGKILL
        crashes += 1
    failed = made.evaluation(evaluation_id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "unreadable_image"
    assert f"first {poison!r}: 3 workers in a row vanished while they predicted it" in failed.error.message
    # Three for each of [0, 130), [64, 130), [64, 128); one for each half of a block; three for the image alone.
    assert crashes == 9 + 5 + 3
    with made.runtime.db.read() as session:
        parts = session.scalars(select(PredictionPart).order_by(PredictionPart.start)).all()
    assert {part.state for part in parts} == {"done"}
    assert [(part.start, part.stop) for part in parts if part.n_unreadable] == [(70, 71)]
    kept = made.run(patient)
    assert kept.status == "succeeded"
    assert {(score.n, score.n_unreadable) for score in made.scores(patient)} == {(129, 1)}


#: Slices by default; reliability asks for 1,000, which SOFTVOTE_TEST_SLICES=1000 runs.
SLICES = int(os.environ.get("SOFTVOTE_TEST_SLICES", "300"))


@pytest.mark.slow
def test_f33_many_slices_in_one_process_hold_neither_memory_nor_files(
    made: Deployment, processes: ForkServerContext
) -> None:
    for _ in range(SLICES):
        made.submit(["a"], "few", protocol=ONE_VIEW, force=True)
    ours, theirs = processes.Pipe()
    process = processes.Process(target=forked.work_through, args=(dict(made.environment), theirs, SLICES // 2))
    process.start()
    try:
        assert ours.poll(240), "the first slices take too long"
        bytes_before, files_before = ours.recv()
        assert ours.poll(500), "the slices take too long"
        bytes_after, files_after, done = ours.recv()
    finally:
        process.join(20)
        process.kill()
    # Every evaluation is one slice and one fusion.
    assert done == 2 * SLICES
    assert files_after == files_before
    assert bytes_after <= 1.05 * bytes_before, f"{bytes_before / 1e6:.1f} MB, then {bytes_after / 1e6:.1f} MB"


@pytest.mark.parametrize("spare", [0, 1, 2])
def test_f34_a_process_short_of_files_fails_by_name_and_goes_on_when_it_has_some(
    spare: int, made: Deployment, processes: ForkServerContext
) -> None:
    reference = made.submit(["a"], protocol=ONE_VIEW, limit=64)
    assert made.run(reference).status == "succeeded"
    evaluation_id = made.submit(["a"], protocol=ONE_VIEW, limit=64, force=True, unreadable="skip")
    ours, theirs = processes.Pipe()
    process = processes.Process(target=forked.work_short_of_files, args=(dict(made.environment), theirs, 64, spare))
    process.start()
    try:
        assert ours.poll(60), "the first attempt hangs"
        raised, taken, files_before = ours.recv()
        made.wait(lambda: made.evaluation(evaluation_id).status == "succeeded", "the second attempt", timeout=30)
        ours.send("enough")
        assert ours.poll(40), "it does not end"
        files_after = ours.recv()
    finally:
        process.join(20)
        process.kill()
    assert 0 < taken < 64
    backed_off = [event.detail["code"] for event in made.events("part_backed_off")]
    assert {*backed_off, *([raised] if raised else [])} <= {"io_error", "runtime_error", "database_unavailable"}
    assert backed_off or raised or spare
    assert made.events("part_reopened") == [], "a file that could not be opened was taken to be damaged"
    assert files_after <= files_before
    assert made.scores(evaluation_id) == made.scores(reference)
    assert {score.n_unreadable for score in made.scores(evaluation_id)} == {0}
