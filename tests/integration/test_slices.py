"""How one worker takes its work: by queue, in passes that fit into memory, and never the same part twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from sqlalchemy import select

from app.db.models import PredictionPart
from app.services import predictions
from app.services.leasing import leases
from ensembles.configurations import Architecture
from tests.integration.harness import Deployment, deployment
from workers.context import WorkerContext, open_context
from workers.drain import drain, work_once
from workers.networks import NetworkCache
from workers.options import WorkerOptions
from workers.predict import run_slice


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=24)
        for seed, name in enumerate("ab"):
            made.add_checkpoint(name, seed=seed)
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as copied:
        yield copied


@pytest.fixture
def context(made: Deployment) -> Iterator[WorkerContext]:
    opened = open_context(made.runtime, WorkerOptions(threads=1), stopping=lambda: False)
    yield opened
    opened.close()


def test_a_worker_of_the_fuse_queue_leaves_predicting_to_others(made: Deployment) -> None:
    evaluation_id = made.submit(["a"])
    fuser = open_context(made.runtime, WorkerOptions(queues=("fuse",), threads=1), stopping=lambda: False)
    try:
        assert not work_once(fuser)
    finally:
        fuser.close()
    assert made.evaluation(evaluation_id).status == "queued"


def test_networks_that_do_not_fit_into_memory_together_take_turns(made: Deployment, context: WorkerContext) -> None:
    evaluation_id = made.submit(["a", "b"])
    one = 4 * Architecture("A", width=1 / 32, classes=3, crop=32).parameters
    context.networks = NetworkCache(torch.device("cpu"), int(1.5 * one))
    drain(context)
    assert made.evaluation(evaluation_id).status == "succeeded"

    again = made.submit(["a", "b"], force=True)
    made.run(again)
    assert made.scores(again) == made.scores(evaluation_id)


def test_f05_what_a_worker_makes_after_losing_its_lease_leaves_no_trace(
    made: Deployment, context: WorkerContext
) -> None:
    """The lease lapses and another worker does the work, while the first one still believes in it."""
    made.submit(["a"])
    slow = predictions.lease_slice(made.runtime.db, context.worker_id, 1e12)
    assert slow is not None
    predictions.release_slice(made.runtime.db, slow)  # as the sweeper does: pending again, under the old token
    assert work_once(context)
    with made.runtime.db.read() as session:
        before = {part.id: (part.artifact, part.sha256, part.token) for part in session.scalars(select(PredictionPart))}

    run_slice(context, slow)

    with made.runtime.db.read() as session:
        after = {part.id: (part.artifact, part.sha256, part.token) for part in session.scalars(select(PredictionPart))}
    assert after == before
    assert {event.subject_id for event in made.events("part_fenced")} == {part.id for part in slow.parts}
    stored = {str(path.relative_to(made.runtime.artifacts.root)) for path in (made.home / "artifacts").rglob("*.npy")}
    assert stored == {artifact for artifact, _, _ in before.values()}


def test_a_stopped_worker_ends_its_row_and_gives_back_what_it_held(made: Deployment, context: WorkerContext) -> None:
    made.submit(["a"])
    assert predictions.lease_slice(made.runtime.db, context.worker_id, 1e12) is not None
    context.close()
    with made.runtime.db.read() as session:
        assert {part.state for part in session.scalars(select(PredictionPart))} == {"pending"}
    assert leases.lease_item(made.runtime.db, context.worker_id, ["fuse"]) is None
