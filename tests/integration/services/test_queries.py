"""Lists page by page, what an evaluation waits for, and versions that change with the document."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import update

from app.db.base import utc_now
from app.db.models import Evaluation, PredictionPart, Worker
from app.db.queries import checkpoints, datasets, evaluations, events, overview, parts
from app.errors import InvalidRequestError, NotFoundError
from app.representations.parts import PartDocument
from app.services import evaluations as service
from app.services import predictions, workers
from app.services.leasing import leases
from ensembles.configurations import Architecture
from tests.catalogue import Catalogue

DENSE = {"scales": [32]}


def all_ids(catalogue: Catalogue, limit: int, **filters: str) -> list[str]:
    found: list[str] = []
    cursor = None
    with catalogue.db.read() as session:
        while True:
            page = evaluations.list_page(session, cursor=cursor, limit=limit, **filters)
            found += [item.id for item in page.items]
            assert len(page.items) <= limit
            cursor = page.next
            if cursor is None:
                return found


def test_pages_show_every_row_once_newest_first(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    ids = [catalogue.submit("a", protocol=DENSE) for _ in range(7)]
    # Rows of one moment are told apart by their ids.
    with catalogue.db.write() as session:
        session.execute(update(Evaluation).where(Evaluation.id.in_(ids[2:5])).values(created_at=utc_now()))
    expected = [*sorted(ids[2:5], reverse=True), *reversed(ids[5:]), *reversed(ids[:2])]
    for limit in (1, 2, 3, 7, 8):
        assert all_ids(catalogue, limit) == expected


def test_rows_that_come_meanwhile_do_not_shift_a_page(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    ids = [catalogue.submit("a", protocol=DENSE) for _ in range(4)]
    with catalogue.db.read() as session:
        first = evaluations.list_page(session, cursor=None, limit=2)
    catalogue.submit("a", protocol=DENSE)
    with catalogue.db.read() as session:
        second = evaluations.list_page(session, cursor=first.next, limit=2)
    assert [item.id for item in (*first.items, *second.items)] == ids[::-1]
    assert second.next is None


@pytest.mark.parametrize("cursor", ["", "x", "e30", "WzEsMl0", "WyIyMDI2LTAxLTAxIiwieCJd", "é"])
def test_a_foreign_cursor_is_refused(catalogue: Catalogue, cursor: str) -> None:
    with catalogue.db.read() as session:
        for list_page in (evaluations.list_page, checkpoints.list_page, datasets.list_page, events.list_page):
            with pytest.raises(InvalidRequestError, match="cursor: "):
                list_page(session, cursor=cursor, limit=10)


@pytest.mark.parametrize("limit", [0, 201, -1])
def test_a_page_has_1_to_200_rows(catalogue: Catalogue, limit: int) -> None:
    with catalogue.db.read() as session:
        for list_page in (evaluations.list_page, checkpoints.list_page, datasets.list_page, events.list_page):
            with pytest.raises(InvalidRequestError, match="limit: a whole number from 1 to 200"):
                list_page(session, cursor=None, limit=limit)


def test_lists_are_filtered(catalogue: Catalogue) -> None:
    dataset_id = catalogue.dataset("digits", images=10)
    catalogue.dataset("100%_real", images=10)
    checkpoint_id = catalogue.checkpoint("digits-d")
    catalogue.checkpoint("other")
    first = catalogue.submit("digits-d", protocol=DENSE)
    second = catalogue.submit("digits-d", "other", protocol="vgg-single-scale")
    third = catalogue.submit("other", protocol=DENSE, dataset="100%_real")
    service.cancel(catalogue.db, second)
    everything = [third, second, first]
    for filters, expected in (
        ({}, everything),
        ({"status": "cancelled"}, [second]),
        ({"dataset": "digits"}, [second, first]),
        ({"dataset": dataset_id}, [second, first]),
        ({"checkpoint": "other"}, [third, second]),
        ({"checkpoint": checkpoint_id}, [second, first]),
        ({"search": "DIGITS-D"}, [second, first]),
        ({"search": "single-scale"}, [second]),
        ({"search": "0%_r"}, [third]),
        ({"search": "%"}, [third]),
        ({"search": first}, [first]),
        ({"search": "nothing"}, []),
        ({"search": "digits", "status": "queued"}, [first]),
    ):
        assert all_ids(catalogue, 50, **filters) == expected, filters
    with catalogue.db.read() as session:
        assert [item.name for item in checkpoints.list_page(session, cursor=None, limit=5, search="dig").items] == [
            "digits-d"
        ]


def test_an_unknown_evaluation_is_not_found(catalogue: Catalogue) -> None:
    with catalogue.db.read() as session:
        for read in (evaluations.get, evaluations.scores, evaluations.version):
            with pytest.raises(NotFoundError, match="no evaluation 'nothing'"):
                read(session, "nothing")


def test_a_version_changes_whenever_the_document_does_and_not_otherwise(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    documents: list[object] = []
    versions: list[str] = []

    def look() -> None:
        with catalogue.db.read() as session:
            documents.append(evaluations.get(session, evaluation_id))
            versions.append(evaluations.version(session, evaluation_id)[0])
            assert evaluations.version(session, evaluation_id)[0] == versions[-1]

    look()
    worker = catalogue.worker()
    look()
    leased = catalogue.lease(worker, macs_per_second=1.0)
    look()
    leases.renew(catalogue.db, worker, [("part", p.id, p.token) for p in leased.parts], None, 12.5, 1e9)
    look()
    catalogue.complete(worker, leased)
    look()
    catalogue.predict_all(worker)
    look()
    catalogue.fuse(worker)
    look()
    assert len({str(document) for document in documents}) == len(documents)
    assert len(set(versions)) == len(versions)


def test_progress_tells_rate_and_time_left(catalogue: Catalogue) -> None:
    catalogue.dataset(images=128)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol={"scales": [32, 64]})
    assert catalogue.get(evaluation_id).progress.eta_seconds is None
    worker = catalogue.worker()
    first = catalogue.lease(worker, macs_per_second=1.0)
    catalogue.complete(worker, first)
    second = catalogue.lease(worker, macs_per_second=1.0)
    macs_per_second = 1e9
    held = [("part", part.id, part.token) for part in second.parts]
    leases.renew(catalogue.db, worker, held, None, 40.0, macs_per_second)
    progress = catalogue.get(evaluation_id).progress
    assert (progress.done, progress.total, progress.images_per_second) == (64, 256, 40.0)
    # Of the cheaper view 64 images are left, of the dearer one 128; each image also flipped.
    network = Architecture("D", False, 0.125, 10, 32)
    macs = 2 * (64 * network.macs(32, 32) + 128 * network.macs(64, 64))
    assert progress.eta_seconds == pytest.approx(macs / macs_per_second)


def test_waiting_is_explained(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    first = catalogue.submit("a", protocol=DENSE)
    second = catalogue.submit("b", protocol=DENSE)
    urgent = catalogue.submit("b", protocol={"scales": [48]}, priority=9)

    def waiting(evaluation_id: str) -> str | None:
        return catalogue.get(evaluation_id).waiting_for

    assert waiting(first) == "no live worker serves queue predict"
    worker = catalogue.worker("w1")
    assert waiting(urgent) == "waiting for a worker of queue predict to become free"
    assert waiting(first) == "behind 1 evaluation of a higher priority"
    assert waiting(second) == "behind 2 evaluations, 1 of a higher priority"
    leased = catalogue.lease(worker)
    assert waiting(urgent) == "being predicted by w1"
    assert waiting(first) == "waiting for a worker of queue predict to become free"
    workers.set_state(catalogue.db, worker, "blocked", "no room for artifacts")
    assert waiting(first) == "every worker of queue predict is blocked: no room for artifacts"
    catalogue.complete(worker, leased)
    service.advance_ready(catalogue.db)
    assert waiting(urgent) == "every worker of queue fuse is blocked: no room for artifacts"
    workers.set_state(catalogue.db, worker, "idle")
    assert waiting(urgent) == "waiting for a worker of queue fuse to become free"
    lease = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert lease is not None
    assert waiting(urgent) == "being fused and scored by w1"
    leases.fail_item(catalogue.db, lease, "cuda_error", "it fell over", retryable=True)
    paused = waiting(urgent)
    assert paused is not None
    assert paused.startswith("trying again at ")
    assert paused.endswith("(cuda_error: it fell over)")
    with catalogue.db.write() as session:
        session.execute(update(Worker).values(last_seen=utc_now() - dt.timedelta(minutes=1)))
    assert waiting(first) == "no live worker serves queue predict"


def test_each_part_says_who_has_it_since_when_and_why_it_waits(catalogue: Catalogue) -> None:
    catalogue.dataset(images=192)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE, limit=128)
    other = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker("w1")
    first = catalogue.lease(worker, macs_per_second=1.0)
    second = catalogue.lease(worker, macs_per_second=1.0)
    catalogue.lease(worker, macs_per_second=1.0)
    predictions.fail_parts(catalogue.db, second.parts, "io_error", "the disk hiccuped", retryable=True)
    catalogue.complete(worker, first)

    def listed(which: str, state: str | None = None) -> list[PartDocument]:
        with catalogue.db.read() as session:
            return parts.list_page(session, which, cursor=None, limit=50, state=state).items

    done, paused = sorted(listed(evaluation_id), key=lambda part: part.start)
    assert (done.state, done.start, done.stop, done.waiting_for) == ("done", 0, 64, None)
    assert done.worker is not None
    assert (done.worker.name, done.worker.id) == ("w1", worker)
    assert (paused.state, paused.attempts, paused.lost_leases) == ("pending", 1, 0)
    assert str(paused.waiting_for).startswith("trying again at ")
    assert str(paused.waiting_for).endswith("(io_error: the disk hiccuped)")
    assert [part.start for part in listed(evaluation_id, "open")] == [64]
    assert [part.start for part in listed(evaluation_id, "done")] == [0]
    (held,) = listed(other, "leased")
    assert (held.start, held.stop, held.waiting_for) == (128, 192, "being predicted by w1")
    assert held.lease_until is not None
    with catalogue.db.write() as session:
        session.execute(update(PredictionPart).values(not_before=None))
        session.execute(update(Worker).values(last_seen=utc_now() - dt.timedelta(minutes=1)))
    (waiting,) = listed(evaluation_id, "open")
    assert waiting.waiting_for == "no live worker serves queue predict"
    with catalogue.db.read() as session, pytest.raises(NotFoundError):
        parts.list_page(session, "nothing", cursor=None, limit=50)


def test_the_best_numbers_are_those_over_all_images(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    worker = catalogue.worker()
    for value, limit in ((0.3, None), (0.2, None), (0.25, None), (0.1, 10)):
        catalogue.submit("a", protocol=DENSE, limit=limit)
        catalogue.predict_all(worker)
        catalogue.fuse(worker, value)
    with catalogue.db.read() as session:
        (row,) = overview.best(session)
        assert overview.running(session) == []
    assert row.ensemble is not None
    assert row.ensemble.score.value == 0.2
    assert row.checkpoint is None
