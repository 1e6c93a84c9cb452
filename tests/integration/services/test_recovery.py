"""What vanished processes leave behind is taken back, bisected, and in the end given up by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from app.db.models import Worker
from app.db.queries import workers as worker_queries
from app.services import evaluations, predictions, workers
from app.services.leasing import leases, processes, recovery
from app.services.workers import WorkerIdentity
from tests.catalogue import Catalogue
from tests.integration.services.test_fencing import let_leases_lapse

DENSE = {"scales": [32]}


def lose(catalogue: Catalogue) -> None:
    let_leases_lapse(catalogue)
    recovery.sweep(catalogue.db)


def test_f01_a_vanished_process_of_this_host_loses_its_leases_at_once(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = processes.start_ticks(process.pid) or 0
        host = (processes.host(), processes.boot_id())
        identity = WorkerIdentity("victim", *host, process.pid, started, "cpu", ("predict",), {})
        victim = workers.register(catalogue.db, identity)
        survivor = catalogue.worker()
        leased = catalogue.lease(victim)
        assert recovery.sweep(catalogue.db) == recovery.SweepReport((), (), ())
        process.kill()
        process.wait()
    report = recovery.sweep(catalogue.db)
    assert report.vanished == (victim,)
    assert report.expired == tuple(part.id for part in leased.parts)
    assert catalogue.lease(survivor).start == 0
    with catalogue.db.read() as session:
        states = {worker.name: (worker.state, worker.alive) for worker in worker_queries.list_all(session)}
    assert states == {"victim": ("vanished", False), "w1": ("idle", True)}
    assert recovery.sweep(catalogue.db).vanished == ()


@pytest.mark.parametrize(
    "elsewhere", [{"host": "elsewhere"}, {"boot_id": "another boot"}], ids=["another host", "another pid namespace"]
)
def test_f02_a_pid_of_elsewhere_is_not_judged_from_here(catalogue: Catalogue, elsewhere: dict[str, str]) -> None:
    identity = {"name": "far", "host": processes.host(), "boot_id": processes.boot_id(), "pid": 2**22 + 1}
    rest = {"pid_started": 1, "device": "cpu", "queues": ("predict",), "versions": {}}
    far = workers.register(catalogue.db, WorkerIdentity(**{**identity, **rest, **elsewhere}))
    assert recovery.sweep(catalogue.db).vanished == ()
    near = workers.register(catalogue.db, WorkerIdentity(**{**identity, **rest}))
    assert recovery.sweep(catalogue.db).vanished == (near,)
    with catalogue.db.read() as session:
        assert session.get_one(Worker, far).stopped_at is None


def test_f32_a_second_lost_lease_halves_the_batch_of_the_next(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol={"scales": [32], "modes": ["dense", "crops"]})
    for expected in ({"dense": None, "crops": None}, {"dense": None, "crops": None}, {"dense": 32, "crops": 25}):
        leased = catalogue.lease("victim")
        assert {part.view["mode"]: part.batch_limit for part in leased.parts} == expected
        lose(catalogue)


def test_f12_a_part_that_kills_its_workers_is_bisected_until_one_image_is_set_aside(catalogue: Catalogue) -> None:
    """Image 200 of 1000 kills whoever touches it; every other image is predicted."""
    catalogue.dataset(images=1000)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE, unreadable="skip")
    crashes, set_aside = 0, []
    while (leased := predictions.lease_slice(catalogue.db, "w", 1e18)) is not None:
        if leased.parts[0].killed:
            set_aside.append((leased.start, leased.stop, leased.parts[0].killed))
            catalogue.complete("w", leased)
        elif leased.start <= 200 < leased.stop:
            crashes += 1
            lose(catalogue)
        else:
            catalogue.complete("w", leased)
    # Three crashes for each of [0, 1000), [0, 448), [192, 448), [192, 320), [192, 256): whole blocks. Then one for each
    # of [192, 224), [192, 208), [200, 208), [200, 204), [200, 202), and three for the image alone.
    assert crashes == 3 * 5 + 5 + 3
    assert set_aside == [(200, 201, 3)]
    assert evaluations.advance_ready(catalogue.db) == [evaluation_id]
    assert catalogue.status(evaluation_id) == "fusing"


def test_f12_a_network_that_kills_its_workers_fails_instead_of_setting_all_images_aside(catalogue: Catalogue) -> None:
    catalogue.dataset(images=1000)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE, unreadable="skip")
    crashes, set_aside = 0, 0
    while (leased := predictions.lease_slice(catalogue.db, "w", 1e18)) is not None:
        if leased.parts[0].killed:
            set_aside += 1
            catalogue.complete("w", leased)
        else:
            crashes += 1
            lose(catalogue)
    assert set_aside == 3
    assert crashes < 40
    failed = catalogue.get(evaluation_id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    assert "image 3 of view dense 32: 3 workers in a row vanished while they predicted it" in failed.error.message


def test_an_item_that_kills_its_workers_fails_what_it_was_for(catalogue: Catalogue) -> None:
    catalogue.dataset(images=10)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    catalogue.predict_all(catalogue.worker())
    for _ in range(3):
        assert leases.lease_item(catalogue.db, "victim", ["fuse"]) is not None
        lose(catalogue)
    assert leases.lease_item(catalogue.db, "victim", ["fuse"]) is None
    failed = catalogue.get(evaluation_id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "worker_lost"
    evaluations.retry(catalogue.db, evaluation_id)
    assert catalogue.fuse(catalogue.worker()) == evaluation_id


def test_a_worker_that_says_goodbye_hands_back_what_it_held_unburnt(catalogue: Catalogue) -> None:
    catalogue.dataset(images=100)
    catalogue.checkpoint("a")
    catalogue.submit("a", protocol=DENSE)
    leaving, staying = catalogue.worker("leaving"), catalogue.worker("staying")
    before = catalogue.lease(leaving)
    workers.stop(catalogue.db, leaving)
    after = catalogue.lease(staying)
    assert [part.id for part in after.parts] == [part.id for part in before.parts]
    assert after.parts[0].batch_limit is None
    assert catalogue.complete(leaving, before) == []
    assert recovery.idle_workers(catalogue.db) == {"predict": 1, "fuse": 1}


def test_a_part_that_came_back_is_cut_for_a_slower_worker(catalogue: Catalogue) -> None:
    catalogue.dataset(images=1000)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    predictions.release_slice(catalogue.db, catalogue.lease("fast"))
    slow = catalogue.lease("slow", macs_per_second=1.0)
    assert (slow.start, slow.stop) == (0, 64)
    catalogue.complete("slow", slow)
    assert [(leased.start, leased.stop) for leased in catalogue.predict_all("fast")] == [(64, 1000)]
    assert catalogue.status(evaluation_id) == "fusing"


def test_the_dispatcher_sees_claimable_work_and_idle_workers(catalogue: Catalogue) -> None:
    assert recovery.claimable(catalogue.db) == {"predict": 0, "fuse": 0}
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    catalogue.checkpoint("b")
    catalogue.submit("a", protocol=DENSE)
    catalogue.submit("b", protocol=DENSE)
    assert recovery.claimable(catalogue.db) == {"predict": 2, "fuse": 0}
    worker = catalogue.worker()
    leased = catalogue.lease(worker)
    workers.set_state(catalogue.db, worker, "busy", "predicting")
    assert recovery.claimable(catalogue.db) == {"predict": 1, "fuse": 0}
    assert recovery.idle_workers(catalogue.db) == {"predict": 0, "fuse": 0}
    catalogue.complete(worker, leased)
    evaluations.advance_ready(catalogue.db)
    assert recovery.claimable(catalogue.db) == {"predict": 1, "fuse": 1}


def test_the_sweep_moves_on_what_nobody_moved(catalogue: Catalogue) -> None:
    catalogue.dataset(images=64)
    catalogue.checkpoint("a")
    evaluation_id = catalogue.submit("a", protocol=DENSE)
    catalogue.complete("w", catalogue.lease("w"))
    assert catalogue.status(evaluation_id) == "predicting"
    assert recovery.sweep(catalogue.db).advanced == (evaluation_id,)
    assert recovery.sweep(catalogue.db).advanced == ()
