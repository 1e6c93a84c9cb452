"""Every named point fails at its first call, its second, and so on until a run has no such call: nothing is lost.

One small piece of every kind of work: a lease of a worker that vanished, sets that two evaluations share, a damaged
file that must be predicted anew, a slice that is handed back, a data set that is registered.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from app.config import Settings
from app.db.models import Dataset, Evaluation, PredictionPart
from app.fault_points import EXIT_STATUS, POINTS
from app.runtime import build_runtime
from app.services import predictions, workers
from app.services.workers import WorkerIdentity
from tests.integration.harness import Deployment, deployment
from tests.nemesis.checker import check
from tests.nemesis.history import Acknowledged, Reference, read_batches, read_history, read_scores
from tests.nemesis.one_process import KEY, NOT_REACHED, REQUEST, SECOND_DATASET, SLICE_MACS, run
from workers.self_checks import EXIT_BROKEN

#: Two runs at a time, each mostly waiting for the disk.
_AT_A_TIME = 2
#: By default the first calls only; `SOFTVOTE_TEST_EVERY_CALL=1` goes on until a run has no such call.
_CALLS = 1000 if os.environ.get("SOFTVOTE_TEST_EVERY_CALL") == "1" else 2
_SECONDS = 180


@dataclass(frozen=True)
class Template:
    """What every run begins with."""

    home: Path
    images: Path
    first_evaluation: str
    reference: Reference
    forkserver: multiprocessing.context.ForkServerContext


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Template]:
    with deployment(tmp_path_factory.mktemp("template")) as made:
        images = made.add_images(count=12)
        made.add_checkpoint("a")
        with deployment(tmp_path_factory.mktemp("reference"), like=made) as undisturbed:
            expected = undisturbed.submit(**REQUEST.model_dump(exclude={"dataset"}), dataset="pictures")
            assert undisturbed.run(expected).status == "succeeded"
            scores, batches = read_scores(undisturbed.runtime.db), read_batches(undisturbed.runtime.db)
        known = made.submit(["a"], protocol={"scales": [34]})
        assert made.run(known).status == "succeeded"
        damage_one_file(made)
        first = made.submit(**REQUEST.model_dump(exclude={"dataset"}), dataset="pictures")
        lease_and_vanish(made)
        made.runtime.db.dispose()
        forkserver = multiprocessing.get_context("forkserver")
        # Forked from a process that has imported torch and run nothing of it: a start takes no time.
        forkserver.set_forkserver_preload(["tests.nemesis.one_process"])
        yield Template(made.home, images, first, Reference({"request": scores[expected]}, batches), forkserver)


def damage_one_file(made: Deployment) -> None:
    with made.runtime.db.read() as session:
        key = session.scalars(select(PredictionPart.artifact).order_by(PredictionPart.id)).first()
    path = made.runtime.artifacts.path(str(key))
    content = bytearray(path.read_bytes())
    content[-3] ^= 16
    path.write_bytes(content)


def lease_and_vanish(made: Deployment) -> None:
    """A worker of this host, whose process is gone, holds the first slice."""
    gone = WorkerIdentity.of_this_process("gone", "cpu", ("predict",), {})
    worker_id = workers.register(made.runtime.db, WorkerIdentity(**{**gone.__dict__, "pid": 2**22 + 1}))
    assert predictions.lease_slice(made.runtime.db, worker_id, SLICE_MACS, 1.0) is not None


def run_with(template: Template, folder: Path, fault: str | None) -> int | None:
    """The exit status of a process that works in the folder."""
    environment = {"SOFTVOTE_HOME": str(folder), "SOFTVOTE_LEASE_SECONDS": "1", "OMP_NUM_THREADS": "1"}
    if fault is not None:
        environment["SOFTVOTE_FAULT"] = fault
    process = template.forkserver.Process(target=run, args=(environment, str(template.images)))
    process.start()
    process.join(_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
        pytest.fail(f"{fault}: not done within {_SECONDS} s")
    return process.exitcode


def fails_once(template: Template, folder: Path, fault: str) -> bool:
    """Run with a fault, without it if that ended the process, and check what is there; whether the fault came."""
    shutil.copytree(template.home, folder)
    status = run_with(template, folder, fault)
    ended = status in (EXIT_STATUS, EXIT_BROKEN)
    if ended:
        assert run_with(template, folder, None) == 0, fault
    else:
        assert status in (0, NOT_REACHED), f"{fault}: exit status {status}"
    assert_nothing_is_lost(template, folder, fault, may_leave_temporary_file=ended)
    shutil.rmtree(folder)
    return status != NOT_REACHED


def assert_nothing_is_lost(template: Template, folder: Path, fault: str, *, may_leave_temporary_file: bool) -> None:
    runtime = build_runtime(Settings.from_environment({"SOFTVOTE_HOME": str(folder)}))
    with runtime.db.read() as session:
        made = session.scalars(select(Evaluation.id).where(Evaluation.idempotency_key == KEY)).all()
        registered = session.scalars(select(Dataset.state).where(Dataset.name == SECOND_DATASET)).all()
    assert (len(made), registered) == (1, ["ready"]), fault
    acknowledged = [Acknowledged("first", template.first_evaluation, "request"), Acknowledged(KEY, made[0], "request")]
    report = check(read_history(runtime.db, runtime.artifacts, acknowledged, template.reference, frozenset()))
    runtime.db.dispose()
    assert report.ok, f"{fault}\n{report}"
    with closing(sqlite3.connect(folder / "softvote.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)], fault
    temporary = list((folder / "artifacts").rglob("*.tmp"))
    assert len(temporary) <= may_leave_temporary_file, f"{fault}: {temporary}"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["raise", "exit"])
def test_f09_a_failure_at_any_call_of_any_point_loses_nothing_and_does_nothing_twice(
    kind: str, template: Template, tmp_path: Path
) -> None:
    def every_call(point: str) -> int:
        for call in range(1, _CALLS + 1):
            if not fails_once(template, tmp_path / f"{point}-{call}", f"{point}:{call}:{kind}"):
                return call - 1
        return _CALLS

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        calls = dict(zip(POINTS, pool.map(every_call, POINTS), strict=True))
    print(f"{kind}: {sum(calls.values())} failures at {len(calls)} points: {calls}")
    assert min(calls.values()) >= 1, calls


@pytest.mark.slow
def test_a_heartbeat_that_hangs_only_costs_its_worker_the_lease(template: Template, tmp_path: Path) -> None:
    assert fails_once(template, tmp_path / "hang", "heartbeat.after_commit:1:hang")
