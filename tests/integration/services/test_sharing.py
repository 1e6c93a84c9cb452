"""Prediction sets are shared: what one evaluation measured or measures, another does not measure again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.db.models import Evaluation
from app.db.queries import evaluations as queries
from app.db.statements import lock_rows
from app.services import evaluations, predictions
from app.services.leasing import leases
from tests.catalogue import Catalogue

DENSE = {"scales": [32, 48], "modes": ["dense"]}


def set_ids(catalogue: Catalogue, evaluation_id: str) -> list[str]:
    return [view.set_id for view in catalogue.get(evaluation_id).views]


def test_what_is_known_is_fused_without_a_single_lease(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    first = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    catalogue.fuse(worker)

    again = catalogue.submit("a", protocol=DENSE)
    assert catalogue.status(again) == "fusing"
    assert [(view.reused, view.total) for view in catalogue.get(again).views] == [(100, 100), (100, 100)]
    assert set_ids(catalogue, again) == set_ids(catalogue, first)
    assert predictions.lease_slice(catalogue.db, worker, 1e18) is None
    assert catalogue.fuse(worker) == again


def test_what_is_still_in_work_is_shared_but_was_not_known(catalogue: Catalogue) -> None:
    catalogue.dataset(images=256)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol={"scales": [32]})
    catalogue.complete("w", catalogue.lease("w", macs_per_second=1.0))
    in_work = catalogue.lease("w", macs_per_second=1.0)
    later = catalogue.submit("a", protocol={"scales": [32]}, limit=100)
    assert catalogue.get(later).views[0].reused == 64
    catalogue.complete("w", in_work)
    assert evaluations.advance_ready(catalogue.db) == [later]
    assert (catalogue.get(later).progress.done, catalogue.get(later).views[0].reused) == (100, 64)


def test_a_larger_limit_computes_only_the_rest(catalogue: Catalogue) -> None:
    catalogue.dataset(images=1000)
    catalogue.checkpoint("a")
    worker = catalogue.worker()
    catalogue.submit("a", protocol=DENSE, limit=100)
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(worker)] == [(0, 128)]
    larger = catalogue.submit("a", protocol=DENSE, limit=500)
    assert [view.reused for view in catalogue.get(larger).views] == [128, 128]
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(worker)] == [(128, 512)]
    everything = catalogue.submit("a", protocol=DENSE, limit=10_000)
    assert catalogue.get(everything).images == 1000
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(worker)] == [(512, 1000)]


def test_the_same_file_under_another_name_is_the_same_work(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a", content="same")
    catalogue.checkpoint("b", content="same", training_scale=(48, 48))
    first = catalogue.submit("a", protocol=DENSE)
    both = catalogue.submit("a", "b", protocol=DENSE)
    assert set_ids(catalogue, both) == set_ids(catalogue, first) * 2
    assert len(catalogue.predict_all(catalogue.worker())) == 1
    assert catalogue.status(both) == "fusing"


def test_other_preprocessing_of_the_same_file_is_other_work(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a", content="same")
    other = {"channel_order": "bgr", "value_range": 255, "mean": [104.0, 117.0, 124.0], "std": [1.0, 1.0, 1.0]}
    catalogue.checkpoint("b", content="same", preprocessing=other)
    evaluation_id = catalogue.submit("a", "b", protocol=DENSE)
    assert len(set(set_ids(catalogue, evaluation_id))) == 4


def test_force_measures_anew_and_leaves_the_old_numbers_alone(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    first = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    forced = catalogue.submit("a", protocol=DENSE, force=True)
    assert not set(set_ids(catalogue, forced)) & set(set_ids(catalogue, first))
    assert [view.reused for view in catalogue.get(forced).views] == [0, 0]
    # While the forced run goes on, others still use what is complete; afterwards the newer.
    during = catalogue.submit("a", protocol=DENSE)
    assert set_ids(catalogue, during) == set_ids(catalogue, first)
    assert len(catalogue.predict_all(worker)) == 1
    assert set_ids(catalogue, catalogue.submit("a", protocol=DENSE)) == set_ids(catalogue, forced)


def test_cancelling_one_of_two_leaves_the_shared_work_going(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    both = catalogue.submit("a", "b", protocol=DENSE)
    single = catalogue.submit("a", protocol=DENSE, limit=64)
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    assert {part.checkpoint_name for part in leased.parts} == {"a", "b"}
    assert (leased.start, leased.stop) == (0, 640)
    held = [("part", part.id, part.token) for part in leased.parts]

    evaluations.cancel(catalogue.db, both)
    answer = leases.renew(catalogue.db, worker, held, None, None, None)
    assert answer.unwanted == {part.id for part in leased.parts if part.checkpoint_name == "b"}
    catalogue.complete(worker, leased)
    evaluations.advance_ready(catalogue.db)
    assert catalogue.status(single) == "fusing"
    assert catalogue.status(both) == "cancelled"


def test_a_part_beyond_what_the_living_want_is_unwanted_though_its_set_is_wanted(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    everything = catalogue.submit("a", protocol={"scales": [32]})
    catalogue.submit("a", protocol={"scales": [32]}, limit=100)
    near, far = (catalogue.lease("w", macs_per_second=1.0) for _ in range(2))
    assert (near.start, near.stop, far.start) == (0, 64, 64)
    further = catalogue.lease("w")
    assert (further.start, further.stop) == (128, 640)
    evaluations.cancel(catalogue.db, everything)
    held = [("part", part.id, part.token) for slice_ in (near, far, further) for part in slice_.parts]
    assert leases.renew(catalogue.db, "w", held, None, None, None).unwanted == {further.parts[0].id}


def test_images_beyond_what_any_live_evaluation_wants_are_not_computed(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    catalogue.checkpoint("a")
    everything = catalogue.submit("a", protocol=DENSE)
    catalogue.submit("a", protocol=DENSE, limit=64)
    evaluations.cancel(catalogue.db, everything)
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(catalogue.worker())] == [(0, 64)]


def test_progress_counts_shared_images_for_everyone(catalogue: Catalogue) -> None:
    catalogue.dataset(images=256)
    catalogue.checkpoint("a")
    first = catalogue.submit("a", protocol={"scales": [32]})
    limited = catalogue.submit("a", protocol={"scales": [32]}, limit=100)
    worker = catalogue.worker()
    catalogue.complete(worker, catalogue.lease(worker, macs_per_second=1.0))
    assert (catalogue.get(first).progress.done, catalogue.get(first).progress.total) == (64, 256)
    assert (catalogue.get(limited).progress.done, catalogue.get(limited).progress.total) == (64, 100)
    catalogue.lease(worker, macs_per_second=1.0)
    assert catalogue.get(limited).progress.done == 64
    with catalogue.db.read() as session:
        page = queries.list_page(session, cursor=None, limit=10)
    assert {item.status for item in page.items} == {"predicting"}


def test_a_slice_that_very_many_wait_for_notes_them_in_more_than_one_lease(catalogue: Catalogue) -> None:
    catalogue.dataset(images=256)
    catalogue.checkpoint("a")
    waiting = [catalogue.submit("a", protocol={"scales": [32]}) for _ in range(20)]
    worker = catalogue.worker()

    def predicting() -> int:
        return [catalogue.status(one) for one in waiting].count("predicting")

    catalogue.complete(worker, catalogue.lease(worker, macs_per_second=1.0))
    assert predicting() == 11  # the one whose turn it is, and ten more
    catalogue.complete(worker, catalogue.lease(worker, macs_per_second=1.0))
    assert predicting() == 20
    catalogue.predict_all(worker)
    assert {catalogue.status(one) for one in waiting} == {"fusing"}


def test_a_slice_does_not_wait_for_an_evaluation_that_somebody_changes(catalogue: Catalogue) -> None:
    """Who takes a slice holds its sets; to wait for more rows there is how deadlocks begin."""
    if catalogue.db.engine.dialect.name == "sqlite":
        pytest.skip("on SQLite a writer holds the whole database")
    catalogue.dataset(images=128)
    catalogue.checkpoint("a")
    first, other = (catalogue.submit("a", protocol={"scales": [32]}) for _ in range(2))
    with ThreadPoolExecutor(1) as thread, catalogue.db.write() as session:
        lock_rows(session, Evaluation, [other])
        leased = thread.submit(catalogue.lease, "w", 1.0).result(timeout=10)
    assert [catalogue.status(one) for one in (first, other)] == ["predicting", "queued"]
    catalogue.complete("w", leased)
    catalogue.predict_all("w")
    assert {catalogue.status(one) for one in (first, other)} == {"fusing"}
