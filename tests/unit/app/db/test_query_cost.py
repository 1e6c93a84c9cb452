"""What the pages' reads cost when the history grows, in SQLite's own steps: a busy machine changes nothing."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event, func, insert, select
from sqlalchemy.orm import Session

from app.db.base import new_id, utc_now
from app.db.models import Evaluation, EvaluationMember, Score
from app.db.queries import evaluations, overview
from app.runtime import Runtime
from ensembles.configurations import Architecture
from tests.app_builders import make_runtime
from tests.history import History

COUNTED = 100


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """Two data sets, one with a single finished evaluation, the other with one that `grow` multiplies."""
    runtime = make_runtime(tmp_path_factory.mktemp("cost") / "home")
    history = History(runtime, macs_per_second=1e15)
    architecture = Architecture("A", width=0.125, classes=2, crop=32)
    for name in ("many", "few"):
        history.dataset(name, images=100, classes=("cat", "dog"))
        history.checkpoint(f"{name}-a", architecture, (32, 32))
        history.checkpoint(f"{name}-b", architecture, (32, 32))
        key = history.submit(dataset=name, checkpoints=[f"{name}-a", f"{name}-b"], protocol={"scales": [32, 40]})
        history.predict()
        # The few are worse: a search from the lowest error upwards meets them last.
        worse = 20 if name == "few" else 0
        history.finish(key, [9 + worse, 8 + worse, 8 + worse, 9 + worse, 7 + worse, 6 + worse, 5 + worse])
    yield runtime
    runtime.db.dispose()


def grow(runtime: Runtime, copies: int) -> None:
    """Repeat the finished evaluation of the data set `many`."""
    with runtime.db.write() as session:
        source = session.scalars(select(Evaluation).join(Evaluation.dataset).where(Evaluation.images == 100)).first()
        assert source is not None
        ids = [new_id() for _ in range(copies)]
        for table in (Evaluation, EvaluationMember, Score):
            own = Evaluation.id if table is Evaluation else table.evaluation_id
            rows = [dict(row._mapping) for row in session.execute(select(table.__table__).where(own == source.id))]
            copied = [{**row, **_identity(table, key, position)} for position, key in enumerate(ids) for row in rows]
            for row in copied if table is Score else ():
                del row["id"]
            session.execute(insert(table), copied)


def _identity(table: Any, key: str, position: int) -> dict[str, Any]:
    if table is Evaluation:
        return {"id": key, "created_at": utc_now() + dt.timedelta(milliseconds=position)}
    return {"evaluation_id": key}


def steps(runtime: Runtime, read: Callable[[Session], object]) -> int:
    """Instructions of SQLite's virtual machine that a read takes, in hundreds."""
    count = 0

    def counted() -> int:
        nonlocal count
        count += 1
        return 0

    def install(connection: Any, *_: object) -> None:
        connection.set_progress_handler(counted, COUNTED)

    runtime.db.dispose()
    event.listen(runtime.db.engine, "connect", install)
    try:
        with runtime.db.read() as session:
            read(session)
    finally:
        event.remove(runtime.db.engine, "connect", install)
        runtime.db.dispose()
    return count


def test_a_page_of_the_list_and_the_overview_cost_the_same_however_long_the_history(runtime: Runtime) -> None:
    reads: dict[str, Callable[[Session], object]] = {
        "list": lambda session: evaluations.list_page(session, cursor=None, limit=50),
        "best": overview.best,
    }
    grow(runtime, 200)
    before = {name: steps(runtime, read) for name, read in reads.items()}
    grow(runtime, 2000)
    after = {name: steps(runtime, read) for name, read in reads.items()}
    with runtime.db.read() as session:
        assert session.scalar(select(func.count(Evaluation.id))) == 2202
    for name in reads:
        assert before[name] > 0
        assert after[name] < 1.5 * before[name], (name, before, after)


def test_the_best_of_few_and_of_many_evaluations_are_both_found(runtime: Runtime) -> None:
    with runtime.db.read() as session:
        best = {document.dataset: document for document in overview.best(session)}
    found = {name: (best[name].checkpoint, best[name].ensemble) for name in ("few", "many")}
    errors = {name: tuple(one.score.value for one in pair if one is not None) for name, pair in found.items()}
    assert errors == {"few": (0.26, 0.25), "many": (0.06, 0.05)}
