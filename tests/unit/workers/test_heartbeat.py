"""The heartbeat against a real database: what it renews, what it hears, when it gives a process up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, update

from app import fault_points
from app.db.base import utc_now
from app.db.models import Worker, WorkItem
from app.runtime import Runtime
from app.services import workers
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.workers import WorkerIdentity
from workers.heartbeat import Heartbeat, HeldLease, StoppedError


@dataclass
class Beating:
    """A worker with a heartbeat that beats 50 times a second."""

    runtime: Runtime
    worker_id: str
    stopping: threading.Event = field(default_factory=threading.Event)
    reasons: list[str] = field(default_factory=list)

    def heartbeat(self, **options: float) -> Heartbeat:
        return Heartbeat(
            self.runtime.db,
            self.worker_id,
            stopping=self.stopping.is_set,
            rates=lambda: (12.5, 3e9),
            interval=0.02,
            give_up=self.reasons.append,
            **options,  # type: ignore[arg-type]
        )

    def lease(self) -> ItemLease:
        with self.runtime.db.write() as session:
            session.add(WorkItem(kind="fuse", queue="fuse", payload={}))
        lease = leases.lease_item(self.runtime.db, self.worker_id, ["fuse"])
        assert lease is not None
        return lease

    def item(self, lease: ItemLease) -> WorkItem:
        with self.runtime.db.read() as session:
            return session.scalars(select(WorkItem).where(WorkItem.id == lease.id)).one()

    def row(self) -> Worker:
        with self.runtime.db.read() as session:
            return session.scalars(select(Worker).where(Worker.id == self.worker_id)).one()


@pytest.fixture
def beating(runtime: Runtime) -> Beating:
    return Beating(runtime, workers.register(runtime.db, WorkerIdentity.of_this_process("w", "cpu", ("fuse",), {})))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited for 10 s"
        time.sleep(0.01)


@pytest.fixture
def running(beating: Beating) -> Iterator[Heartbeat]:
    heartbeat = beating.heartbeat()
    heartbeat.start()
    yield heartbeat
    heartbeat.close()


def held(lease: ItemLease) -> list[HeldLease]:
    return [HeldLease("item", lease.id, lease.token)]


def test_a_beat_renews_the_worker_and_its_leases(beating: Beating) -> None:
    lease = beating.lease()
    long_ago = utc_now().replace(year=2020)
    with beating.runtime.db.write() as session:
        session.execute(update(WorkItem).values(lease_until=long_ago))
        session.execute(update(Worker).values(last_seen=long_ago))
    heartbeat = beating.heartbeat()
    with heartbeat.holding(held(lease), "fuses"):
        heartbeat.beat()
    until = beating.item(lease).lease_until
    assert until is not None
    assert until > utc_now()
    row = beating.row()
    assert row.last_seen > long_ago
    assert (row.doing, row.images_per_second, row.macs_per_second) == ("fuses", 12.5, 3e9)


def test_work_stops_when_its_lease_went_to_another_worker(beating: Beating, running: Heartbeat) -> None:
    lease = beating.lease()
    with running.holding(held(lease), "fuses"):
        assert not running.should_stop()
        with beating.runtime.db.write() as session:
            session.execute(update(WorkItem).values(token=lease.token + 1))
        wait_for(running.should_stop)
        with pytest.raises(StoppedError):
            running.step()


def test_work_goes_on_while_one_of_its_leases_is_still_held(beating: Beating) -> None:
    kept, lost = beating.lease(), beating.lease()
    with beating.runtime.db.write() as session:
        session.execute(update(WorkItem).where(WorkItem.id == lost.id).values(token=lost.token + 1))
    heartbeat = beating.heartbeat()
    with heartbeat.holding(held(kept) + held(lost), "fuses"):
        heartbeat.beat()
        assert heartbeat.gone() == {lost.id}
        assert not heartbeat.should_stop()


def test_what_has_ended_is_no_longer_renewed_nor_missed(beating: Beating) -> None:
    kept, ended = beating.lease(), beating.lease()
    heartbeat = beating.heartbeat()
    with heartbeat.holding(held(kept) + held(ended), "fuses"):
        leases.release_item(beating.runtime.db, ended)
        heartbeat.let_go({ended.id})
        heartbeat.beat()
        assert heartbeat.gone() == frozenset()


def test_a_request_to_stop_reaches_the_work_without_a_database(beating: Beating) -> None:
    heartbeat = beating.heartbeat()
    heartbeat.step()
    beating.stopping.set()
    with pytest.raises(StoppedError):
        heartbeat.step()


def test_f11_a_process_without_progress_is_given_up_and_its_lease_not_renewed(beating: Beating) -> None:
    lease = beating.lease()
    heartbeat = beating.heartbeat(stall_seconds=0.1)
    heartbeat.start()
    with heartbeat.holding(held(lease), "hangs"):
        wait_for(lambda: bool(beating.reasons))
    heartbeat.close()
    assert "no progress" in beating.reasons[0]


def test_steps_keep_a_slow_process_from_being_given_up(beating: Beating) -> None:
    heartbeat = beating.heartbeat(stall_seconds=0.3)
    heartbeat.start()
    with heartbeat.holding(held(beating.lease()), "works"):
        for _ in range(20):
            time.sleep(0.03)
            heartbeat.moved()
    heartbeat.close()
    assert not beating.reasons


def test_a_step_that_outlasts_the_request_to_stop_is_given_up(beating: Beating) -> None:
    heartbeat = beating.heartbeat(drain_seconds=0.1)
    heartbeat.start()
    with heartbeat.holding(held(beating.lease()), "works"):
        beating.stopping.set()
        wait_for(lambda: bool(beating.reasons))
    heartbeat.close()
    assert "request to stop" in beating.reasons[0]


def test_a_step_that_outlasts_the_loss_of_everything_in_hand_is_given_up(beating: Beating) -> None:
    lease = beating.lease()
    heartbeat = beating.heartbeat(gone_seconds=0.1)
    heartbeat.start()
    with heartbeat.holding(held(lease), "works"):
        time.sleep(0.3)
        assert not beating.reasons
        with beating.runtime.db.write() as session:
            session.execute(update(WorkItem).values(state="failed", lease_until=None))
        wait_for(lambda: bool(beating.reasons))
    heartbeat.close()
    assert "nobody wants it any more" in beating.reasons[0]


def test_what_stops_in_time_after_its_loss_is_not_given_up(beating: Beating) -> None:
    lease = beating.lease()
    heartbeat = beating.heartbeat(gone_seconds=0.3)
    heartbeat.start()
    with heartbeat.holding(held(lease), "works"):
        with beating.runtime.db.write() as session:
            session.execute(update(WorkItem).values(state="failed", lease_until=None))
        wait_for(heartbeat.should_stop)
    time.sleep(0.5)
    heartbeat.close()
    assert not beating.reasons


def test_an_idle_process_is_never_given_up(beating: Beating) -> None:
    heartbeat = beating.heartbeat(stall_seconds=0.01, drain_seconds=0.01)
    heartbeat.start()
    beating.stopping.set()
    time.sleep(0.2)
    heartbeat.close()
    assert not beating.reasons


def test_the_heart_goes_on_beating_when_the_database_was_away(beating: Beating) -> None:
    database = beating.runtime.settings.home / "softvote.db"
    before = beating.row().last_seen
    beating.runtime.db.dispose()
    hidden = database.rename(database.with_suffix(".away"))
    database.mkdir()  # can neither be opened as a file nor made anew
    heartbeat = beating.heartbeat()
    heartbeat.start()
    time.sleep(0.2)
    database.rmdir()
    hidden.rename(database)
    wait_for(lambda: beating.row().last_seen > before)
    heartbeat.close()


def test_a_worker_without_a_heartbeat_gives_up(beating: Beating) -> None:
    """It would lose every lease from then on, and work on for nothing."""
    fault_points.arm("heartbeat.before_commit:2")
    heartbeat = beating.heartbeat()
    heartbeat.start()
    wait_for(lambda: bool(beating.reasons))
    heartbeat.close()
    assert "OSError" in beating.reasons[0]


def test_f11_a_beat_that_hangs_does_not_keep_the_worker_from_ending(
    beating: Beating, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.heartbeat._CLOSE_SECONDS", 0.1)
    fault_points.arm("heartbeat.after_commit:1:hang")
    heartbeat = beating.heartbeat()
    heartbeat.start()
    wait_for(lambda: not fault_points.is_armed())
    began = time.monotonic()
    heartbeat.close()
    assert time.monotonic() - began < 5
