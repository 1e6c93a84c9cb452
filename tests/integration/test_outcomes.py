"""Fusing leaves the outcome of every image behind, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from app.db.models import EvaluationOutcomes
from app.errors import ArtifactDamagedError, LeaseLostError
from app.services import evaluations
from app.services.answering import outcomes
from app.services.leasing import leases
from tests.integration.harness import Deployment, deployment
from workers import drain
from workers.context import open_context
from workers.fuse import fuse_evaluation
from workers.options import WorkerOptions


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(tmp_path_factory.mktemp("filled")) as made:
        made.add_images(count=20)
        made.add_checkpoint("a")
        made.add_checkpoint("d", configuration="D", seed=1)
        yield made


@pytest.fixture
def made(filled: Deployment, tmp_path: Path) -> Iterator[Deployment]:
    with deployment(tmp_path, like=filled) as copied:
        yield copied


def rows_of(made: Deployment, evaluation_id: str) -> list[EvaluationOutcomes]:
    with made.runtime.db.read() as session:
        rows = select(EvaluationOutcomes).where(EvaluationOutcomes.evaluation_id == evaluation_id)
        return list(session.scalars(rows.order_by(EvaluationOutcomes.position)))


def stored_files(made: Deployment) -> list[Path]:
    return list((made.runtime.artifacts.root / "outcomes").rglob("*"))


def test_every_score_of_a_member_or_the_ensemble_follows_from_its_outcomes(made: Deployment) -> None:
    evaluation_id = made.submit(["a", "d"], limit=17)
    assert made.run(evaluation_id).status == "succeeded"
    top1 = [score for score in made.scores(evaluation_id) if score.metric == "top1_error"]
    rows = rows_of(made, evaluation_id)
    assert [(row.member_position, top1[row.position].subject_name) for row in rows] == [
        (0, "a"),
        (1, "d"),
        (None, "ensemble"),
    ]
    for row in rows:
        images, found = outcomes.load(made.runtime.artifacts, row)
        assert images.tolist() == list(range(17))
        assert float(np.mean(found.wrong(1))) == top1[row.position].value
        assert top1[row.position].mode in ("both", None)
    assert len(stored_files(made)) == 3


def test_outcomes_whose_file_was_changed_are_refused(made: Deployment) -> None:
    evaluation_id = made.submit(["a"])
    made.run(evaluation_id)
    (row,) = rows_of(made, evaluation_id)
    path = made.runtime.artifacts.path(row.artifact)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactDamagedError):
        outcomes.load(made.runtime.artifacts, row)


def test_a_worker_whose_evaluation_was_cancelled_leaves_no_file(made: Deployment) -> None:
    evaluation_id = made.submit(["a", "d"])
    context = open_context(made.runtime, WorkerOptions(name="late", threads=1), lambda: False)
    try:
        while made.evaluation(evaluation_id).status != "fusing":
            assert drain.work_once(context)
        item = leases.lease_item(made.runtime.db, context.worker_id, ["fuse"])
        assert item is not None
        evaluations.cancel(made.runtime.db, evaluation_id)
        with pytest.raises(LeaseLostError):
            fuse_evaluation(context, item)
    finally:
        context.close()
    assert rows_of(made, evaluation_id) == []
    assert stored_files(made) == []


def test_a_worker_whose_success_was_recorded_without_its_knowing_leaves_the_files(made: Deployment) -> None:
    """A database that commits and then drops the connection makes the worker try once more, and be refused."""
    evaluation_id = made.submit(["a"])
    context = open_context(made.runtime, WorkerOptions(name="twice", threads=1), lambda: False)
    try:
        while made.evaluation(evaluation_id).status != "fusing":
            assert drain.work_once(context)
        item = leases.lease_item(made.runtime.db, context.worker_id, ["fuse"])
        assert item is not None
        fuse_evaluation(context, item)
        with pytest.raises(LeaseLostError):
            fuse_evaluation(context, item)
    finally:
        context.close()
    (row,) = rows_of(made, evaluation_id)
    assert len(outcomes.load(made.runtime.artifacts, row)[1]) == 20
