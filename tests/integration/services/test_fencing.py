"""A worker that was thought dead and works on changes nothing, and is found out."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import update

from app.db.base import utc_now
from app.db.models import LeaseState, PredictionPart, WorkItem
from app.db.queries import evaluations as queries
from app.db.queries import events
from app.errors import LeaseLostError
from app.services import checkpoints, evaluations, predictions
from app.services.leasing import leases, recovery
from app.services.leasing.slices import LeasedSlice
from tests.catalogue import Catalogue

DENSE = {"scales": [32, 48]}


def let_leases_lapse(catalogue: Catalogue) -> None:
    past = utc_now() - dt.timedelta(hours=1)
    with catalogue.db.write() as session:
        for table in (PredictionPart, WorkItem):
            session.execute(update(table).where(table.state == LeaseState.LEASED).values(lease_until=past))


def kinds_of(catalogue: Catalogue, subject: str) -> list[tuple[str, int | None]]:
    with catalogue.db.read() as session:
        page = events.list_page(session, cursor=None, limit=200, subject=subject)
    return [(event.kind, event.token) for event in reversed(page.items)]


@pytest.fixture
def taken_over(catalogue: Catalogue) -> tuple[LeasedSlice, LeasedSlice]:
    """The same images in the hands of a zombie and of its successor."""
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    zombies = catalogue.lease("zombie")
    let_leases_lapse(catalogue)
    recovery.sweep(catalogue.db)
    successors = catalogue.lease("successor")
    assert {part.id for part in zombies.parts} == {part.id for part in successors.parts}
    return zombies, successors


def test_f05_a_zombies_results_are_refused_and_recorded(
    catalogue: Catalogue, taken_over: tuple[LeasedSlice, LeasedSlice]
) -> None:
    zombies, successors = taken_over
    assert catalogue.complete("zombie", zombies) == []
    assert sorted(catalogue.complete("successor", successors)) == sorted(part.id for part in successors.parts)
    assert kinds_of(catalogue, zombies.parts[0].id) == [
        ("part_leased", 1),
        ("part_expired", 1),
        ("part_leased", 2),
        ("part_fenced", 1),
        ("part_done", 2),
    ]


def test_f05_a_zombie_that_comes_last_does_not_replace_the_winners_file(
    catalogue: Catalogue, taken_over: tuple[LeasedSlice, LeasedSlice]
) -> None:
    zombies, successors = taken_over
    catalogue.complete("successor", successors)
    assert catalogue.complete("zombie", zombies) == []
    with catalogue.db.read() as session:
        (file,) = predictions.part_files(session, successors.parts[0].set_id, 100)
    assert file.artifact == f"parts/{successors.parts[0].id}.2.npy"


def test_a_zombie_can_neither_hand_back_nor_fail_what_it_lost(
    catalogue: Catalogue, taken_over: tuple[LeasedSlice, LeasedSlice]
) -> None:
    zombies, successors = taken_over
    predictions.release_slice(catalogue.db, zombies)
    predictions.fail_parts(catalogue.db, zombies.parts, "nonfinite_output", "NaN", retryable=False)
    predictions.fail_parts(catalogue.db, zombies.parts, "cuda_error", "it fell over", retryable=True)
    assert predictions.lease_slice(catalogue.db, "third", 1e18) is None
    assert len(catalogue.complete("successor", successors)) == 2


def test_a_zombies_heartbeat_says_what_it_lost_and_keeps_nothing(
    catalogue: Catalogue, taken_over: tuple[LeasedSlice, LeasedSlice]
) -> None:
    zombies, successors = taken_over
    ours = [("part", part.id, part.token) for part in zombies.parts]
    assert leases.renew(catalogue.db, "zombie", ours, None, None, None).lost == {part.id for part in zombies.parts}
    theirs = [("part", part.id, part.token) for part in successors.parts]
    assert leases.renew(catalogue.db, "successor", theirs, None, None, None).lost == frozenset()


def test_completing_twice_counts_once(catalogue: Catalogue, taken_over: tuple[LeasedSlice, LeasedSlice]) -> None:
    _, successors = taken_over
    assert len(catalogue.complete("successor", successors)) == 2
    assert catalogue.complete("successor", successors) == []


def test_a_renewed_lease_does_not_lapse(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    let_leases_lapse(catalogue)
    leases.renew(catalogue.db, worker, [("part", p.id, p.token) for p in leased.parts], "predicting", 1.0, 1.0)
    assert recovery.sweep(catalogue.db).expired == ()
    assert len(catalogue.complete(worker, leased)) == 2


def test_a_zombies_scores_are_refused(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    catalogue.predict_all(catalogue.worker())
    zombies = leases.lease_item(catalogue.db, "zombie", ["fuse"])
    let_leases_lapse(catalogue)
    recovery.sweep(catalogue.db)
    successors = leases.lease_item(catalogue.db, "successor", ["fuse"])
    assert zombies is not None
    assert successors is not None
    with pytest.raises(LeaseLostError):
        evaluations.succeed(catalogue.db, zombies, [catalogue.score(0.9)], {})
    assert catalogue.status(evaluation_id) == "fusing"
    evaluations.succeed(catalogue.db, successors, [catalogue.score(0.1)], {})
    leases.fail_item(catalogue.db, zombies, "late", "too late", retryable=False)
    leases.release_item(catalogue.db, zombies)
    assert catalogue.status(evaluation_id) == "succeeded"
    with catalogue.db.read() as session:
        assert [score.value for score in queries.scores(session, evaluation_id).items] == [0.1]
    assert ("item_fenced", 1) in kinds_of(catalogue, zombies.id)


def test_a_registration_that_was_taken_over_counts_once(catalogue: Catalogue) -> None:
    catalogue.checkpoint("a")
    path = catalogue.settings.checkpoint_roots[0] / "b.safetensors"
    path.write_bytes(b"weights")
    request = checkpoints.CheckpointRequest(path=str(path), name="b")
    checkpoints.request_registration(catalogue.db, catalogue.settings, request)
    zombies = leases.lease_item(catalogue.db, "zombie", ["predict"])
    let_leases_lapse(catalogue)
    recovery.sweep(catalogue.db)
    successors = leases.lease_item(catalogue.db, "successor", ["predict"])
    assert zombies is not None
    assert successors is not None
    with pytest.raises(LeaseLostError):
        checkpoints.complete_registration(catalogue.db, zombies, catalogue.facts(path, "zombie"))
    checkpoints.complete_registration(catalogue.db, successors, catalogue.facts(path, "successor"))
