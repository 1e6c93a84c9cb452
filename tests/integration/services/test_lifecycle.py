"""An evaluation from its request to its scores, and every way in which it can end."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from app.db.models import Event, PredictionPart
from app.db.queries import evaluations as queries
from app.db.queries import events
from app.errors import LeaseLostError, NotFoundError, StateConflictError
from app.services import evaluations, predictions
from app.services.leasing import leases
from tests.catalogue import Catalogue

DENSE = {"scales": [32], "modes": ["dense"]}
BOTH = {"scales": [32, 48], "modes": ["dense", "crops"]}
#: In canonical order, images 0 and 3.
UNREADABLE = [
    {"index": 0, "image_id": "c1/first.png", "reason": "truncated"},
    {"index": 3, "image_id": "c2/fourth.png", "reason": "no image"},
]


def kinds(catalogue: Catalogue, evaluation_id: str) -> list[str]:
    with catalogue.db.read() as session:
        page = events.list_page(session, cursor=None, limit=200, evaluation=evaluation_id)
    return [event.kind for event in reversed(page.items)]


def test_an_evaluation_goes_from_queued_to_succeeded(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    evaluation_id = catalogue.submit("a", "b", protocol=BOTH)
    assert catalogue.status(evaluation_id) == "queued"

    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    started = catalogue.get(evaluation_id)
    assert started.status == "predicting"
    assert started.started_at is not None
    assert started.waiting_for == "being predicted by w1"
    catalogue.complete(worker, leased)
    catalogue.predict_all(worker)
    fusing = catalogue.get(evaluation_id)
    assert fusing.status == "fusing"
    assert (fusing.progress.done, fusing.progress.total) == (800, 800)

    assert catalogue.fuse(worker, value=0.25) == evaluation_id
    ended = catalogue.get(evaluation_id)
    assert (ended.status, ended.waiting_for, ended.error) == ("succeeded", None, None)
    assert ended.finished_at is not None
    assert ended.provenance == {"softvote": "test"}
    with catalogue.db.read() as session:
        assert [score.value for score in queries.scores(session, evaluation_id).items] == [0.25]
        assert queries.list_page(session, cursor=None, limit=1).items[0].top1_error == 0.25
    history = kinds(catalogue, evaluation_id)
    assert history[0] == "evaluation_submitted"
    assert history[-1] == "evaluation_succeeded"
    assert history.count("evaluation_fusing") == 1


def test_parts_cover_the_wanted_images_exactly_once(catalogue: Catalogue) -> None:
    catalogue.dataset(images=150)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=BOTH)
    worker = catalogue.worker()
    slow = catalogue.lease(worker, macs_per_second=1.0)
    catalogue.complete(worker, slow)
    catalogue.predict_all(worker, macs_per_second=3e9)
    views = catalogue.get(evaluation_id).views
    assert len(views) == 4
    with catalogue.db.read() as session:
        for view in views:
            files = predictions.part_files(session, view.set_id, 150)
            assert [file.start for file in files] == [0, *[file.stop for file in files[:-1]]]
            assert files[-1].stop == 150


def test_reading_a_set_that_is_not_done_is_refused(catalogue: Catalogue) -> None:
    catalogue.dataset(images=150)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.complete(worker, catalogue.lease(worker, macs_per_second=1.0))
    set_id = catalogue.get(evaluation_id).views[0].set_id
    with catalogue.db.read() as session:
        assert predictions.part_files(session, set_id, 64)[0].stop == 64
        with pytest.raises(StateConflictError, match="done only up to image 64 of 150"):
            predictions.part_files(session, set_id, 150)


def test_a_hole_in_the_middle_of_a_set_is_no_end(catalogue: Catalogue) -> None:
    catalogue.dataset(images=192)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    slices = [catalogue.lease("w", macs_per_second=1.0) for _ in range(3)]
    catalogue.complete("w", slices[0])
    catalogue.complete("w", slices[2])
    set_id = catalogue.get(evaluation_id).views[0].set_id
    with catalogue.db.read() as session, pytest.raises(StateConflictError, match="up to image 64 of 192"):
        predictions.part_files(session, set_id, 192)
    assert evaluations.advance_ready(catalogue.db) == []


def test_the_first_lease_starts_everyone_who_waits_for_the_same_images(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    shared = [catalogue.submit("a", protocol=DENSE), catalogue.submit("a", protocol=DENSE, priority=9)]
    other = catalogue.submit("b", protocol=DENSE, priority=0)
    catalogue.lease(catalogue.worker())
    assert [catalogue.status(evaluation_id) for evaluation_id in shared] == ["predicting", "predicting"]
    assert catalogue.status(other) == "queued"


def test_a_higher_priority_goes_first_and_equals_take_turns(catalogue: Catalogue) -> None:
    catalogue.dataset(images=640)
    for name in ("a", "b", "c"):
        catalogue.checkpoint(name)
    first = catalogue.submit("a", protocol=DENSE)
    catalogue.submit("b", protocol=DENSE)
    urgent = catalogue.submit("c", protocol=DENSE, priority=6, limit=64)
    worker = catalogue.worker()
    names = [catalogue.lease(worker, macs_per_second=1.0).parts[0].checkpoint_name for _ in range(5)]
    assert names == ["c", "a", "b", "a", "b"]
    assert catalogue.get(urgent).progress.total == 64
    assert catalogue.get(first).progress.total == 640


def test_cancelling_ends_it_and_the_worker_learns_at_its_next_heartbeat(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    held = [("part", part.id, part.token) for part in leased.parts]
    assert leases.renew(catalogue.db, worker, held, None, None, None).unwanted == frozenset()

    evaluations.cancel(catalogue.db, evaluation_id)
    answer = leases.renew(catalogue.db, worker, held, None, None, None)
    assert answer.unwanted == {part.id for part in leased.parts}
    assert answer.lost == frozenset()
    predictions.release_slice(catalogue.db, leased)
    assert predictions.lease_slice(catalogue.db, worker, 1e18) is None
    assert catalogue.status(evaluation_id) == "cancelled"
    with pytest.raises(StateConflictError, match="is cancelled; it cannot be cancelled"):
        evaluations.cancel(catalogue.db, evaluation_id)
    with pytest.raises(NotFoundError):
        evaluations.cancel(catalogue.db, "nothing")


def test_cancelling_all_ends_what_has_not_ended_and_leaves_the_rest(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    for name in ("a", "b", "c"):
        catalogue.checkpoint(name)
    worker = catalogue.worker()
    succeeded = catalogue.submit("a", protocol=DENSE)
    catalogue.predict_all(worker)
    catalogue.fuse(worker)
    fusing = catalogue.submit("b", protocol=DENSE)
    catalogue.predict_all(worker)
    item = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert item is not None
    queued = [catalogue.submit("c", protocol=DENSE) for _ in range(3)]
    assert evaluations.cancel_many(catalogue.db, {queued[0], succeeded, "nothing"}) == 1
    assert [catalogue.status(one) for one in (*queued, succeeded)] == ["cancelled", "queued", "queued", "succeeded"]
    assert evaluations.cancel_many(catalogue.db, []) == 0
    assert evaluations.cancel_many(catalogue.db) == 3
    assert {catalogue.status(one) for one in (*queued, fusing)} == {"cancelled"}
    assert catalogue.status(succeeded) == "succeeded"
    with pytest.raises(LeaseLostError):
        evaluations.succeed(catalogue.db, item, [], {})
    assert predictions.lease_slice(catalogue.db, worker, 1e12) is None
    with catalogue.db.read() as session:
        told = session.scalars(select(Event.evaluation_id).where(Event.kind == "evaluation_cancelled")).all()
    assert sorted(told, key=str) == sorted([*queued, fusing])


def test_cancelling_while_it_is_fused_takes_the_item_away(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    lease = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert lease is not None
    evaluations.cancel(catalogue.db, evaluation_id)
    answer = leases.renew(catalogue.db, worker, [("item", lease.id, lease.token)], None, None, None)
    assert answer.lost == {lease.id}
    with pytest.raises(leases.LeaseLostError):
        evaluations.succeed(catalogue.db, lease, [catalogue.score(0.5)], {})
    assert catalogue.status(evaluation_id) == "cancelled"
    with catalogue.db.read() as session:
        assert queries.scores(session, evaluation_id).items == []


def test_retrying_keeps_what_is_done(catalogue: Catalogue) -> None:
    catalogue.dataset(images=128)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.complete(worker, catalogue.lease(worker, macs_per_second=1.0))
    with pytest.raises(StateConflictError, match="is predicting; it cannot be tried again"):
        evaluations.retry(catalogue.db, evaluation_id)
    evaluations.cancel(catalogue.db, evaluation_id)
    evaluations.retry(catalogue.db, evaluation_id)
    again = catalogue.get(evaluation_id)
    assert (again.status, again.progress.done, again.finished_at) == ("queued", 64, None)
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(worker)] == [(64, 128)]
    assert catalogue.fuse(worker) == evaluation_id


def test_a_deterministic_error_fails_the_evaluation_at_once_and_a_retry_tries_again(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    predictions.fail_parts(catalogue.db, leased.parts, "nonfinite_output", "NaN on image x", retryable=False)
    assert evaluations.advance_ready(catalogue.db) == [evaluation_id]
    failed = catalogue.get(evaluation_id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("nonfinite_output", "NaN on image x")

    evaluations.retry(catalogue.db, evaluation_id)
    assert len(catalogue.predict_all(worker)) == 1
    assert catalogue.fuse(worker) == evaluation_id
    assert catalogue.get(evaluation_id).error is None


def test_submitting_again_gives_failed_parts_another_chance(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    predictions.fail_parts(catalogue.db, leased.parts, "cuda_error", "the device fell over", retryable=False)
    evaluations.advance_ready(catalogue.db)
    again = catalogue.submit("a", protocol=DENSE)
    assert len(catalogue.predict_all(worker)) == 1
    assert catalogue.status(again) == "fusing"


def test_a_transient_error_pauses_the_part_and_the_fifth_is_final(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    for attempt in range(1, 6):
        leased = catalogue.lease(worker)
        predictions.fail_parts(catalogue.db, leased.parts, "cuda_error", "it fell over", retryable=True)
        evaluations.advance_ready(catalogue.db)
        if attempt < 5:
            waiting = catalogue.get(evaluation_id).waiting_for
            assert waiting is not None
            assert waiting.startswith("trying again at ")
            assert "cuda_error: it fell over" in waiting
            assert predictions.lease_slice(catalogue.db, worker, 1e18) is None
            end_pauses(catalogue)
    assert catalogue.status(evaluation_id) == "failed"


def end_pauses(catalogue: Catalogue) -> None:
    with catalogue.db.write() as session:
        session.execute(update(PredictionPart).values(not_before=None))


def test_an_unreadable_image_fails_an_evaluation_with_the_policy_fail(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    strict = catalogue.submit("a", protocol=DENSE)
    lenient = catalogue.submit("a", protocol=DENSE, unreadable="skip")
    worker = catalogue.worker()
    catalogue.complete(worker, catalogue.lease(worker), UNREADABLE)
    assert sorted(evaluations.advance_ready(catalogue.db)) == sorted([strict, lenient])
    failed = catalogue.get(strict)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "unreadable_image"
    assert "2 images could not be read, first 'c1/first.png': truncated" in failed.error.message
    assert catalogue.status(lenient) == "fusing"
    # Known before it was asked for: the reason is the same.
    late = catalogue.submit("a", protocol=DENSE)
    evaluations.advance_ready(catalogue.db)
    assert catalogue.status(late) == "failed"


def test_unreadable_images_beyond_the_limit_or_excluded_do_not_fail(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    limited = catalogue.submit("a", protocol=DENSE, limit=3)
    excluding = catalogue.submit("a", protocol={**DENSE, "exclude": ["c2/fourth.png"]})
    worker = catalogue.worker()
    while (leased := predictions.lease_slice(catalogue.db, worker, 1e18)) is not None:
        catalogue.complete(worker, leased, UNREADABLE[1:] if leased.start == 0 else [])
    evaluations.advance_ready(catalogue.db)
    assert catalogue.status(limited) == "fusing"
    assert catalogue.status(excluding) == "fusing"


def test_a_damaged_artifact_sends_the_evaluation_back_to_predicting(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    lease = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert lease is not None
    with catalogue.db.read() as session:
        damaged = predictions.part_files(session, catalogue.get(evaluation_id).views[0].set_id, 100)[0]
    predictions.reopen(catalogue.db, damaged.id)
    assert catalogue.status(evaluation_id) == "predicting"
    with pytest.raises(leases.LeaseLostError):
        evaluations.succeed(catalogue.db, lease, [catalogue.score(0.5)], {})
    leases.release_item(catalogue.db, lease)
    assert leases.lease_item(catalogue.db, worker, ["fuse"]) is None

    assert [(leased.start, leased.stop) for leased in catalogue.predict_all(worker)] == [(0, 100)]
    assert catalogue.fuse(worker) == evaluation_id


def test_a_failed_fuse_item_fails_its_evaluation_with_the_same_error(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    catalogue.predict_all(worker)
    lease = leases.lease_item(catalogue.db, worker, ["fuse"])
    assert lease is not None
    leases.fail_item(catalogue.db, lease, "nonfinite_probs", "row 3", retryable=False)
    failed = catalogue.get(evaluation_id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert (failed.error.code, failed.error.message) == ("nonfinite_probs", "row 3")
