"""The dispatcher rings a real broker in a folder: a ring is a file there."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from app.db.base import utc_now
from app.db.models import Event, WorkItem
from app.messaging import BrokerUnavailableError, Doorbell
from app.runtime import Runtime
from app.services import workers
from app.services.workers import WorkerIdentity
from workers.scheduler import Dispatcher, run_scheduler


def rings(runtime: Runtime) -> int:
    return len([file for file in (runtime.settings.home / "broker" / "messages").iterdir() if file.suffix == ".msg"])


@pytest.fixture
def dispatcher(runtime: Runtime) -> Dispatcher:
    return Dispatcher(Doorbell(runtime.settings))


def test_no_ring_without_work_or_without_an_idle_worker(dispatcher: Dispatcher) -> None:
    assert dispatcher.dispatch({"fuse": 3, "predict": 2}, {"fuse": 0, "predict": 0}, 0) == 0
    assert dispatcher.dispatch({"fuse": 0, "predict": 0}, {"fuse": 2, "predict": 2}, 1) == 0


def test_a_fuse_item_rings_one_worker_and_an_evaluation_all_that_are_idle(
    dispatcher: Dispatcher, runtime: Runtime
) -> None:
    assert dispatcher.dispatch({"fuse": 2, "predict": 0}, {"fuse": 5, "predict": 5}, 0) == 2
    assert dispatcher.dispatch({"fuse": 0, "predict": 1}, {"fuse": 5, "predict": 5}, 1) == 5
    assert rings(runtime) == 7


def test_a_lost_ring_is_repeated_ever_more_rarely(dispatcher: Dispatcher) -> None:
    times = [t / 4 for t in range(800) if dispatcher.dispatch({"fuse": 1}, {"fuse": 1}, t / 4)]
    assert times[:6] == [0, 2, 6, 14, 30, 60]
    assert times[6] - times[5] == 30


def test_new_work_is_rung_at_once_however_long_the_last_waited(dispatcher: Dispatcher) -> None:
    for t in range(100):
        dispatcher.dispatch({"fuse": 1}, {"fuse": 1}, t)
    assert dispatcher.dispatch({"fuse": 2}, {"fuse": 1}, 100) == 1
    dispatcher.dispatch({}, {}, 101)
    assert dispatcher.dispatch({"fuse": 2}, {"fuse": 1}, 102) == 1


def test_a_dead_broker_is_named_and_tried_again(runtime: Runtime) -> None:
    settings = replace(runtime.settings, broker_url="redis://127.0.0.1:1/0")
    dispatcher = Dispatcher(Doorbell(settings))
    for now in (0, 2):
        with pytest.raises(BrokerUnavailableError):
            dispatcher.dispatch({"fuse": 1}, {"fuse": 1}, now)


def test_f13_leases_are_swept_while_the_broker_is_dead(runtime: Runtime) -> None:
    """Work and an idle worker are there, so every round tries to ring and fails."""
    workers.register(runtime.db, WorkerIdentity.of_this_process("idle", "cpu", ("predict", "fuse"), {}))
    lapsed = WorkItem(kind="fuse", queue="fuse", payload={}, state="leased", lease_until=utc_now(), token=1)
    with runtime.db.write() as session:
        session.add_all([WorkItem(kind="fuse", queue="fuse", payload={}), lapsed])
    dead = replace(runtime, settings=replace(runtime.settings, broker_url="redis://127.0.0.1:1/0"))
    stopping = threading.Event()
    thread = threading.Thread(target=run_scheduler, args=(dead, stopping))
    thread.start()
    deadline = time.monotonic() + 20
    while not events(runtime, "item_expired") and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    thread.join(20)
    assert not thread.is_alive()
    assert len(events(runtime, "item_expired")) == 1


def test_f21_the_scheduler_outlives_a_database_that_is_away(runtime: Runtime, tmp_path: Path) -> None:
    database = runtime.settings.home / "softvote.db"
    stopping = threading.Event()
    runtime.db.dispose()
    hidden = database.rename(tmp_path / "away.db")
    database.mkdir()  # cannot be opened as a file, nor made anew
    thread = threading.Thread(target=run_scheduler, args=(runtime, stopping))
    thread.start()
    time.sleep(0.5)
    assert thread.is_alive()
    runtime.db.dispose()
    database.rmdir()
    hidden.rename(database)
    with runtime.db.write() as session:
        session.add(WorkItem(kind="fuse", queue="fuse", payload={}, state="leased", lease_until=utc_now(), token=1))
    deadline = time.monotonic() + 20
    while not events(runtime, "item_expired") and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    thread.join(20)
    assert len(events(runtime, "item_expired")) == 1


def events(runtime: Runtime, kind: str) -> list[Event]:
    with runtime.db.read() as session:
        return list(session.scalars(select(Event).where(Event.kind == kind)))
