"""The fault cases F04, F18, F30, F47, F48: many sweepers, bells and equal requests; a jumping clock; a long queue."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest
from sqlalchemy import func, select

from app.db import base, clock
from app.db.models import Evaluation, Event, PredictionPart, PredictionSet
from app.db.queries import evaluations as queries
from app.errors import IdempotencyConflictError
from app.services import evaluations, predictions
from app.services.leasing import leases, recovery
from tests.catalogue import Catalogue
from tests.integration.services.test_fencing import let_leases_lapse

DENSE = {"scales": [32]}
AT_ONCE = 8
_Result = TypeVar("_Result")


def at_once(work: Callable[[int], _Result], calls: int) -> list[_Result]:
    """`work(0)` to `work(calls - 1)` in eight threads that begin at the same moment."""
    barrier = threading.Barrier(AT_ONCE)

    def run(thread: int) -> list[_Result]:
        barrier.wait()
        return [work(number) for number in range(thread, calls, AT_ONCE)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return [result for results in pool.map(run, range(AT_ONCE)) for result in results]


def count(catalogue: Catalogue, kind: str) -> int:
    with catalogue.db.read() as session:
        return session.scalars(select(func.count()).select_from(Event).where(Event.kind == kind)).one()


def test_f04_of_many_schedulers_that_sweep_at_once_one_takes_each_lease_back(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol={"scales": [32, 48]})
    leased = [catalogue.lease(f"w{number}", macs_per_second=1.0) for number in range(10)]
    let_leases_lapse(catalogue)
    expired = [part for report in at_once(lambda _: recovery.sweep(catalogue.db), AT_ONCE) for part in report.expired]
    held = sorted(part.id for slice_ in leased for part in slice_.parts)
    assert sorted(expired) == held
    assert count(catalogue, "part_expired") == len(held)
    with catalogue.db.read() as session:
        assert set(session.scalars(select(PredictionPart.lost_leases))) == {1}


def test_f04_of_many_schedulers_one_moves_an_evaluation_on(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    ids = [catalogue.submit("a", protocol=DENSE, force=True) for _ in range(5)]
    while (leased := predictions.lease_slice(catalogue.db, "w", 1e18)) is not None:
        catalogue.complete("w", leased)
    advanced = [one for report in at_once(lambda _: recovery.sweep(catalogue.db), AT_ONCE) for one in report.advanced]
    assert sorted(advanced) == sorted(ids)
    assert count(catalogue, "evaluation_fusing") == len(ids)


def test_f18_a_hundred_bells_for_every_piece_of_work_do_it_once(catalogue: Catalogue) -> None:
    """A bell makes a worker ask for a lease, and that is all it does."""
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)

    def hear_a_bell(number: int) -> list[str]:
        worker = f"w{number % AT_ONCE}"
        if (leased := predictions.lease_slice(catalogue.db, worker, 1.0)) is not None:
            done = catalogue.complete(worker, leased)
            evaluations.advance_ready(catalogue.db)
            return done
        if (item := leases.lease_item(catalogue.db, worker, ["fuse"])) is not None:
            evaluations.succeed(catalogue.db, item, [catalogue.score(0.5)], {})
            return [item.id]
        return []

    done = Counter(key for keys in at_once(hear_a_bell, 100 * AT_ONCE) for key in keys)
    # Ten blocks and one fusion.
    assert (len(done), set(done.values())) == (11, {1})
    assert (count(catalogue, "part_done"), count(catalogue, "item_fenced")) == (10, 0)
    assert catalogue.status(evaluation_id) == "succeeded"


def test_f30_a_clock_that_jumps_an_hour_either_way_doubles_nothing_and_stops_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite, where a lease is measured with the host's clock; on PostgreSQL a host's clock means nothing."""
    on_sqlite = catalogue.db.engine.dialect.name == "sqlite"
    utc_now, ahead = base.utc_now, [dt.timedelta(0)]
    monkeypatch.setattr(clock, "utc_now", lambda: utc_now() + ahead[0])
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    held = catalogue.lease(worker)
    ours = [("part", part.id, part.token) for part in held.parts]

    # An hour forward: leases lapse that should not, the work is done anew, what comes late is refused.
    ahead[0] = dt.timedelta(hours=1)
    expired = recovery.sweep(catalogue.db).expired
    assert bool(expired) is on_sqlite
    successor = predictions.lease_slice(catalogue.db, "successor", 1e18)
    assert (successor is not None) is on_sqlite
    if successor is not None:
        assert leases.renew(catalogue.db, worker, ours, None, None, None).lost == {part.id for part in held.parts}
        assert catalogue.complete(worker, held) == []
        held, worker = successor, "successor"

    # And back, so that the lease ends in an hour: nobody else gets the work, its holder ends it.
    ahead[0] = dt.timedelta(0)
    assert recovery.sweep(catalogue.db).expired == ()
    assert predictions.lease_slice(catalogue.db, "third", 1e18) is None
    assert len(catalogue.complete(worker, held)) == len(held.parts)
    evaluations.advance_ready(catalogue.db)

    # An hour back: what is due stays due.
    ahead[0] = -dt.timedelta(hours=1)
    assert catalogue.fuse("fuser") == evaluation_id
    assert catalogue.status(evaluation_id) == "succeeded"
    assert count(catalogue, "part_done") == len(held.parts)
    assert count(catalogue, "evaluation_succeeded") == 1


def test_f30_a_holder_that_died_under_a_clock_ahead_is_found_out_when_it_is_back(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    utc_now, ahead = base.utc_now, [dt.timedelta(hours=1)]
    monkeypatch.setattr(clock, "utc_now", lambda: utc_now() + ahead[0])
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    dead = catalogue.worker("dead")
    held = catalogue.lease(dead)
    ahead[0] = dt.timedelta(0)
    monkeypatch.setattr("app.services.leasing.processes.start_ticks", lambda _pid: None)
    assert recovery.sweep(catalogue.db).expired == tuple(part.id for part in held.parts)


def test_f47_a_hundred_equal_requests_with_one_key_make_one_evaluation(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    ids = at_once(lambda _: catalogue.submit("a", protocol=DENSE, key="once"), 100)
    assert (len(ids), len(set(ids))) == (100, 1)
    with catalogue.db.read() as session:
        assert session.scalars(select(Evaluation.id)).all() == ids[:1]
    assert count(catalogue, "evaluation_submitted") == 1


def test_f47_a_hundred_equal_requests_with_keys_of_their_own_are_a_hundred_that_share_their_work(
    catalogue: Catalogue,
) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    ids = at_once(lambda number: catalogue.submit("a", protocol=DENSE, key=f"key-{number}"), 100)
    assert len(set(ids)) == 100
    with catalogue.db.read() as session:
        assert session.scalars(select(func.count()).select_from(PredictionSet)).one() == 1
    assert sum(slice_.stop - slice_.start for slice_ in catalogue.predict_all("w")) == 100
    assert {catalogue.status(one) for one in ids} == {"fusing"}


def test_f47_of_two_bodies_with_one_key_the_first_counts_and_the_other_is_refused(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")

    def submit(number: int) -> str | None:
        try:
            return catalogue.submit("a", protocol=DENSE, key="once", priority=number % 2)
        except IdempotencyConflictError:
            return None

    answers = at_once(submit, 100)
    # Thread n submits with priority n % 2, so each body comes 50 times.
    assert Counter(answer is None for answer in answers) == {True: 50, False: 50}
    assert len({answer for answer in answers if answer}) == 1
    with catalogue.db.read() as session:
        assert session.scalars(select(func.count()).select_from(Evaluation)).one() == 1


@pytest.mark.slow
def test_f48_a_long_queue_stays_quick(catalogue: Catalogue) -> None:
    """1,000 evaluations and bounds that only a slip of an order of magnitude breaks.

    The figures with 10,000 are those of `python -m benchmarks.queue`, in docs/operations.md.
    """
    catalogue.dataset(images=5000)
    for number in range(10):
        catalogue.checkpoint(f"network-{number}")

    def timed(work: Callable[[], object]) -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    def submit(number: int) -> None:
        names = [f"network-{(number + offset) % 10}" for offset in range(1 + number % 3)]
        catalogue.submit(*names, protocol={"scales": [32, 48, 64], "modes": ["dense", "crops"]}, priority=number % 10)

    def read() -> None:
        with catalogue.db.read() as session:
            queries.list_page(session, cursor=None, limit=50)

    submitted = [timed(lambda number=number: submit(number)) for number in range(1000)]  # type: ignore[misc]
    leased = [timed(lambda: predictions.lease_slice(catalogue.db, "w", 1e8)) for _ in range(50)]
    listed = [timed(read) for _ in range(20)]
    cancelled = timed(lambda: evaluations.cancel_many(catalogue.db))
    assert {
        "submit": median(submitted[-100:]) < 0.5,
        "lease": median(leased) < 0.5,
        "list": median(listed) < 1,
        "cancel": cancelled < 20,
    } == dict.fromkeys(("submit", "lease", "list", "cancel"), True), (
        median(submitted[-100:]),
        median(leased),
        median(listed),
        cancelled,
    )
    with catalogue.db.read() as session:
        assert set(session.scalars(select(Evaluation.status).distinct())) == {"cancelled"}


def median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]
