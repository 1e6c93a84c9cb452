"""The main job through real processes: submitted, predicted by workers, fused, scored; whatever happens to them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.db.models import Checkpoint, PredictionPart
from app.representations.evaluations import ScoreDocument
from app.services import evaluations
from tests.integration.harness import Deployment, deployment

IMAGES = 130
CHECKPOINTS = {"a": ("A", 1), "b": ("B", 2)}


def fill(made: Deployment) -> None:
    made.add_images(count=IMAGES)
    for name, (configuration, seed) in CHECKPOINTS.items():
        made.add_checkpoint(name, configuration=configuration, seed=seed)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Images and checkpoints are registered, nothing is predicted."""
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def reference(filled: Deployment, tmp_path_factory: pytest.TempPathFactory) -> list[ScoreDocument]:
    """The scores, computed in this process in one slice."""
    with deployment(tmp_path_factory.mktemp("reference"), like=filled) as made:
        evaluation_id = made.submit(list(CHECKPOINTS))
        assert made.run(evaluation_id).status == "succeeded"
        return made.scores(evaluation_id)


@pytest.fixture
def embedded(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as made:
        yield made


def test_one_process_and_many_slices_give_the_scores_of_one_slice_bit_for_bit(
    embedded: Deployment, reference: list[ScoreDocument]
) -> None:
    evaluation_id = embedded.submit(list(CHECKPOINTS))
    embedded.run(evaluation_id, slice_seconds=0.001)  # one block a slice, however fast the machine
    assert embedded.scores(evaluation_id) == reference
    starts = {event.detail["start"] for event in embedded.events("part_leased")}
    assert len(starts) >= 5


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_workers_gives_the_scores_of_one_process_bit_for_bit(
    workers: int, embedded: Deployment, reference: list[ScoreDocument]
) -> None:
    assert_workers_give(reference, embedded, workers)


@pytest.mark.services
def test_postgresql_and_redis_give_the_scores_of_the_embedded_default_bit_for_bit(
    tmp_path: Path, reference: list[ScoreDocument]
) -> None:
    with deployment(tmp_path, services=True) as made:
        fill(made)
        assert_workers_give(reference, made, 2)


def assert_workers_give(reference: list[ScoreDocument], made: Deployment, workers: int) -> None:
    made.start("scheduler", "scheduler")
    names = [f"worker-{number}" for number in range(workers)]
    for name in names:
        made.start_worker(name)
    made.wait(lambda: all("worker_ready" in made.log(name) for name in names), "start of all workers")
    evaluation_id = made.submit(list(CHECKPOINTS))
    document = made.wait_until_ended(evaluation_id)

    assert (document.status, document.error) == ("succeeded", None)
    assert made.scores(evaluation_id) == reference
    done = made.events("part_done")
    assert len({event.worker_id for event in done}) == workers
    assert len(done) == len({event.subject_id for event in done})


def test_what_is_known_needs_no_network_and_takes_under_two_seconds(embedded: Deployment) -> None:
    embedded.run(embedded.submit(list(CHECKPOINTS)))
    embedded.start("scheduler", "scheduler")
    embedded.start_worker()
    embedded.wait(lambda: "worker_ready" in embedded.log("worker"), "start of the worker")
    # Were a network needed, its file would be found to be another.
    with embedded.runtime.db.write() as session:
        session.execute(update(Checkpoint).values(path="/gone", sha256="0" * 64))

    again = embedded.submit(["a"])
    seconds = embedded.wait(lambda: embedded.evaluation(again).status == "succeeded", "fusing of known sets")

    assert seconds < 2


def test_f02_a_worker_killed_midway_changes_no_score(embedded: Deployment, reference: list[ScoreDocument]) -> None:
    embedded.start("scheduler", "scheduler")
    embedded.start_worker("doomed")
    evaluation_id = embedded.submit(list(CHECKPOINTS))
    embedded.wait(lambda: len(embedded.events("part_done")) >= 3, "the first parts")
    embedded.kill("doomed")
    done_before = len(embedded.events("part_done"))
    assert embedded.evaluation(evaluation_id).status == "predicting"

    embedded.start_worker("heir")
    document = embedded.wait_until_ended(evaluation_id)

    assert (document.status, document.error) == ("succeeded", None)
    assert embedded.scores(evaluation_id) == reference
    done = [event.subject_id for event in embedded.events("part_done")]
    assert len(done) == len(set(done)) > done_before
    assert len(embedded.events("worker_vanished")) == 1


def test_f06_sigterm_hands_work_back_within_twenty_seconds_and_burns_no_attempt(embedded: Deployment) -> None:
    embedded.start("scheduler", "scheduler")
    worker = start_long_work(embedded)
    assert_parent_is_free_of_torch(worker.pid)

    assert embedded.stop("worker", timeout=20) == 0

    assert embedded.events("part_released"), embedded.logs_of_all()
    with embedded.runtime.db.read() as session:
        parts = session.scalars(select(PredictionPart)).all()
    assert {(part.attempts, part.lost_leases, part.state) for part in parts} == {(0, 0, "pending")}
    assert len(embedded.events("worker_stopped")) == len(embedded.events("worker_started"))


def test_a_cancelled_evaluation_is_dropped_in_the_middle_of_a_slice(embedded: Deployment) -> None:
    embedded.start("scheduler", "scheduler")
    start_long_work(embedded)
    evaluations.cancel(embedded.runtime.db, embedded.events("part_leased")[0].evaluation_id or "")

    seconds = embedded.wait(lambda: bool(embedded.events("part_released")), "the slice to be dropped", timeout=30)

    # The worker hears of it with its next heartbeat, 5 s later at most, and stops at the next forward pass.
    assert seconds < 10
    assert not embedded.events("part_done")


def start_long_work(made: Deployment) -> subprocess.Popen[bytes]:
    """A worker in the middle of one slice that takes many times longer than these tests wait."""
    worker = made.start("worker", "worker", "--threads", "1", "--slice-seconds", "3600")
    made.submit(list(CHECKPOINTS), protocol={"scales": [40, 48, 56, 64], "modes": ["crops"], "crop_grid": 9})
    made.wait(lambda: bool(made.events("part_leased")), "the first lease")
    return worker


def assert_parent_is_free_of_torch(pid: int) -> None:
    """Its child has torch, as a look at the same file shows: so the look can see it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    assert any("libtorch" in Path(f"/proc/{child}/maps").read_text() for child in children)
