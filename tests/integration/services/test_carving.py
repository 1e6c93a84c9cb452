"""Many workers at once: no image of a set is handed out twice or left out, whoever carves."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db.base import utc_now
from app.db.conditions import is_claimable
from app.db.models import Evaluation, LeaseState, PredictionPart, PredictionSet, WorkItem
from app.db.session import Database
from app.services import evaluations, predictions
from app.services.leasing.slices import LeasedSlice
from tests.catalogue import Catalogue
from tests.databases import empty

WORKERS = 8
BOTH = {"scales": [32, 48], "modes": ["dense", "crops"]}


def in_threads(work: Callable[[int], None]) -> None:
    """Run `work(0)` to `work(7)` at the same moment, and raise what any of them raises."""
    barrier = threading.Barrier(WORKERS)

    def run(number: int) -> None:
        barrier.wait()
        work(number)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(run, range(WORKERS)))


def check_geometry(catalogue: Catalogue, images: int) -> None:
    """Parts of each set lie side by side from 0 to the frontier, on whole blocks."""
    with catalogue.db.read() as session:
        for prediction_set in session.scalars(select(PredictionSet)).all():
            rows = session.scalars(
                select(PredictionPart).where(PredictionPart.set_id == prediction_set.id).order_by(PredictionPart.start)
            ).all()
            assert [row.start for row in rows] == [0, *[row.stop for row in rows]][: len(rows)]
            assert prediction_set.frontier == (rows[-1].stop if rows else 0)
            assert all(row.stop % prediction_set.block == 0 or row.stop == images for row in rows)


def test_eight_workers_carve_without_overlap_or_gap(catalogue: Catalogue) -> None:
    catalogue.dataset(images=500)
    for name in ("a", "b", "c"):
        catalogue.checkpoint(name)
    ids = [
        catalogue.submit("a", "b", protocol=BOTH),
        catalogue.submit("b", "c", protocol=BOTH, limit=200),
        catalogue.submit("a", "c", protocol={"scales": [32]}, priority=7),
    ]
    leased: list[LeasedSlice] = []

    def work(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no secret
        worker = f"w{number}"
        # A slice of a few whole blocks, of one or several sets.
        while (mine := predictions.lease_slice(catalogue.db, worker, chance.uniform(1e8, 3e10), 1.0)) is not None:
            leased.append(mine)
            if chance.random() < 0.2:
                predictions.release_slice(catalogue.db, mine)
                continue
            assert len(catalogue.complete(worker, mine)) == len(mine.parts)
            evaluations.advance_ready(catalogue.db)

    in_threads(work)
    # Whatever was released while the others had already gone.
    catalogue.predict_all("last")
    check_geometry(catalogue, 500)
    assert len({part.id for slice_ in leased for part in slice_.parts}) > 2 * WORKERS
    assert [catalogue.status(evaluation_id) for evaluation_id in ids] == ["fusing"] * 3
    with catalogue.db.read() as session:
        assert set(session.scalars(select(PredictionPart.state).distinct())) == {LeaseState.DONE}
        assert len(session.scalars(select(WorkItem).where(WorkItem.kind == "fuse")).all()) == 3


def test_no_lease_is_given_to_two_workers(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol={"scales": [32, 48, 64]})
    taken: list[tuple[str, int]] = []

    def work(number: int) -> None:
        while (mine := predictions.lease_slice(catalogue.db, f"w{number}", 1.0)) is not None:
            taken.extend((part.id, part.token) for part in mine.parts)

    in_threads(work)
    assert len(taken) == len(set(taken)) == 30
    check_geometry(catalogue, 640)


def test_of_many_that_advance_an_evaluation_one_wins(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol={"scales": [32]})
    catalogue.complete("w", catalogue.lease("w"))
    moved: list[str] = []
    in_threads(lambda _: moved.extend(evaluations.advance_ready(catalogue.db)))
    assert moved == [evaluation_id]
    with catalogue.db.read() as session:
        assert len(session.scalars(select(WorkItem).where(WorkItem.kind == "fuse")).all()) == 1


def test_after_a_completion_only_those_who_want_its_sets_are_looked_at(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    ids = [catalogue.submit(name, protocol={"scales": [32]}) for name in ("a", "b")]
    for _ in ids:
        catalogue.complete("w", catalogue.lease("w"))
    set_ids = [catalogue.get(evaluation_id).views[0].set_id for evaluation_id in ids]
    assert evaluations.advance_ready(catalogue.db, set_ids[:1]) == ids[:1]
    assert evaluations.advance_ready(catalogue.db, set_ids) == ids[1:]


@pytest.mark.parametrize("force", [False, True])
def test_equal_requests_at_once_share_their_sets_unless_forced(catalogue: Catalogue, force: bool) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    # In both orders: two transactions that make the same new sets must not wait for each other in a circle.
    names = (["a", "b"], ["b", "a"])
    in_threads(lambda number: catalogue.submit(*names[number % 2], protocol=BOTH, force=force) and None)
    with catalogue.db.read() as session:
        sets = session.scalars(select(PredictionSet)).all()
        assert len(session.scalars(select(Evaluation)).all()) == WORKERS
    assert len(sets) == (8 * WORKERS if force else 8)
    assert {row.generation for row in sets} == (set(range(WORKERS)) if force else {0})


def test_the_same_key_at_once_makes_one_evaluation(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    ids: list[str] = []
    in_threads(lambda _: ids.append(catalogue.submit("a", protocol=BOTH, key="once")))
    assert len(ids) == WORKERS
    assert len(set(ids)) == 1
    with catalogue.db.read() as session:
        assert session.scalars(select(Evaluation.id)).all() == ids[:1]


def test_submitting_leasing_and_cancelling_at_once_never_deadlocks(catalogue: Catalogue) -> None:
    catalogue.dataset(images=300)
    for name in ("a", "b", "c"):
        catalogue.checkpoint(name)

    def work(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no secret
        for _ in range(6):
            evaluation_id = catalogue.submit(*chance.sample("abc", 2), protocol=BOTH, priority=chance.randrange(10))
            mine = predictions.lease_slice(catalogue.db, f"w{number}", 1e10, 1.0)
            if chance.random() < 0.5:
                try:
                    evaluations.cancel(catalogue.db, evaluation_id)
                    evaluations.retry(catalogue.db, evaluation_id)
                except evaluations.StateConflictError:
                    pass  # another worker ended its prediction in between
            if mine is not None:
                catalogue.complete(f"w{number}", mine)
            evaluations.advance_ready(catalogue.db)

    in_threads(work)
    catalogue.predict_all("last")
    check_geometry(catalogue, 300)
    with catalogue.db.read() as session:
        statuses = set(session.scalars(select(Evaluation.status).distinct()))
    assert statuses == {"fusing"}


@pytest.mark.services
def test_postgresql_asks_one_evaluation_after_the_other_whose_turn_it_is(postgresql: Database, tmp_path: Path) -> None:
    empty(postgresql)
    catalogue = Catalogue(tmp_path / "home", postgresql)
    catalogue.dataset()
    catalogue.checkpoint("a")
    for number in range(40):
        catalogue.submit("a", limit=number + 1)
    turn = select(Evaluation.id).where(is_claimable(utc_now())).order_by(Evaluation.last_turn_at).limit(1)
    compiled = turn.compile(catalogue.db.engine, compile_kwargs={"render_postcompile": True})
    with catalogue.db.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE")
        plan = "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {compiled}", compiled.params))
    assert "SubPlan" in plan
    assert "hashed" not in plan
