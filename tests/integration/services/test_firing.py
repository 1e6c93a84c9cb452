"""Slots fire once: several schedulers, killed in between, under clocks that are put forward and back."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import random
import time
from collections.abc import Iterator
from ctypes import c_double
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db.models import Event, RunState, Schedule, ScheduleRun, WorkItem
from app.db.session import Database
from app.representations.schedules import ScheduleChange, ScheduleRequest, ScheduleTarget
from app.services.scheduling import firing, schedules
from app.services.scheduling.clock_guard import ClockGuard
from tests.catalogue import Catalogue

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)
TARGET = ScheduleTarget(dataset="digits", checkpoints=["a"], protocol={"scales": [40]})


class Clock:
    """A wall clock that a test moves, and the seconds that passed, which nobody can put back."""

    def __init__(self, wall: dt.datetime = NOON) -> None:
        self.wall, self.seconds = wall, 0.0

    def __call__(self, session: Session) -> dt.datetime:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += dt.timedelta(seconds=seconds)

    def is_put(self, seconds: float) -> None:
        self.wall += dt.timedelta(seconds=seconds)


@pytest.fixture
def filled(catalogue: Catalogue) -> Catalogue:
    catalogue.dataset()
    catalogue.checkpoint("a")
    return catalogue


def add(db: Database, first: dt.datetime | None = NOON + MINUTE, **fields: Any) -> str:
    """A schedule that fires every minute from `first` on."""
    given: dict[str, Any] = {"name": "minutely", "cron": "* * * * *", "target": TARGET, "max_active": 1000, **fields}
    key = schedules.create(db, ScheduleRequest(**given))
    with db.write() as session:
        session.execute(update(Schedule).where(Schedule.id == key).values(next_fire_at=first, starts_at=NOON))
    return key


def runs(db: Database) -> list[ScheduleRun]:
    with db.read() as session:
        return list(session.scalars(select(ScheduleRun).order_by(ScheduleRun.slot)))


def slots(db: Database) -> list[float]:
    """Minutes after noon of each run."""
    return [(run.slot - NOON) / MINUTE for run in runs(db)]


def test_a_slot_fires_once_with_one_item_of_work_and_not_before_its_time(filled: Catalogue) -> None:
    db, clock = filled.db, Clock()
    add(db)
    guard = ClockGuard(clock.monotonic)
    assert firing.fire_due(db, guard, clock) == []
    clock.passes(60)
    (run_id,) = firing.fire_due(db, guard, clock)
    assert firing.fire_due(db, guard, clock) == []
    (run,) = runs(db)
    assert (run.id, run.slot, run.cause, run.state) == (run_id, NOON + MINUTE, "slot", RunState.CHECKING)
    with db.read() as session:
        assert session.scalars(select(WorkItem.payload).where(WorkItem.kind == "check_schedule_run")).all() == [
            {"run": run_id}
        ]
        assert session.scalars(select(Schedule.next_fire_at)).one() == NOON + 2 * MINUTE


def test_missed_slots_make_one_run_that_says_since_when(filled: Catalogue) -> None:
    db, clock = filled.db, Clock(NOON + 90 * MINUTE + dt.timedelta(seconds=5))
    add(db, first=NOON + MINUTE, cron="*/7 * * * *")
    firing.fire_due(db, ClockGuard(clock.monotonic), clock)
    (run,) = runs(db)
    assert (run.slot, run.cause, run.missed_since) == (NOON + 88 * MINUTE, "catch_up", NOON + MINUTE)


def test_missed_slots_are_skipped_where_the_policy_says_so(filled: Catalogue) -> None:
    db, clock = filled.db, Clock(NOON + 90 * MINUTE)
    key = add(db, first=NOON, cron="0 * * * *", misfire="skip")
    guard = ClockGuard(clock.monotonic)
    assert firing.fire_due(db, guard, clock) == []
    with db.read() as session:
        assert session.get_one(Schedule, key).next_fire_at == NOON + 120 * MINUTE
        assert session.scalars(select(Event.detail).where(Event.kind == "schedule_slots_missed")).one()["since"]
    clock.passes(30 * 60)
    firing.fire_due(db, guard, clock)
    assert slots(db) == [120]


def test_at_most_as_many_runs_stand_at_a_time_as_the_schedule_allows(filled: Catalogue) -> None:
    db, clock = filled.db, Clock()
    add(db, max_active=2)
    guard = ClockGuard(clock.monotonic)
    for _ in range(4):
        clock.passes(60)
        firing.fire_due(db, guard, clock)
    assert [run.state for run in runs(db)] == ["checking", "checking", "skipped", "skipped"]
    assert "2 of this schedule's runs were under way" in runs(db)[2].findings[0]
    with db.read() as session:
        assert session.scalar(select(func.count(WorkItem.id)).where(WorkItem.kind == "check_schedule_run")) == 2


def test_a_paused_schedule_fires_nothing_and_makes_nothing_up_for_when_it_resumes(filled: Catalogue) -> None:
    db = filled.db
    key = add(db)
    schedules.pause(db, key)
    clock = Clock(NOON + 30 * MINUTE)
    assert firing.fire_due(db, ClockGuard(clock.monotonic), clock) == []
    schedules.resume(db, key)
    with db.read() as session:
        following = session.get_one(Schedule, key).next_fire_at
    assert following is not None
    assert following > dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)


@pytest.mark.parametrize("hours", [1, -1])
def test_f30_a_clock_put_by_an_hour_fires_no_slot_of_the_future_and_none_twice(filled: Catalogue, hours: int) -> None:
    db, clock = filled.db, Clock()
    add(db)
    guard = ClockGuard(clock.monotonic)
    for _ in range(3):
        clock.passes(60)
        firing.fire_due(db, guard, clock)
    clock.is_put(hours * 3600)
    for _ in range(50):
        clock.passes(1)
        assert firing.fire_due(db, guard, clock) == []
    clock.is_put(-hours * 3600)
    for _ in range(130):
        clock.passes(1)
        firing.fire_due(db, guard, clock)
    # What came due while the clock was mistrusted was made up for by one run.
    assert slots(db)[:3] == [1, 2, 3]
    assert sorted(set(slots(db))) == slots(db)
    assert slots(db)[-1] <= (clock.wall - NOON) / MINUTE


def test_a_clock_that_stays_put_is_believed_after_a_minute(filled: Catalogue) -> None:
    db, clock = filled.db, Clock()
    add(db)
    guard = ClockGuard(clock.monotonic)
    firing.fire_due(db, guard, clock)
    clock.is_put(3600)
    fired = []
    for _ in range(125):
        clock.passes(1)
        fired += firing.fire_due(db, guard, clock)
    assert len(fired) == 2
    assert [run.cause for run in runs(db)] == ["catch_up", "slot"]


def test_an_edit_of_the_timing_counts_from_now_on(filled: Catalogue) -> None:
    db = filled.db
    key = add(db)
    schedules.change(db, key, ScheduleChange(every=3600))
    with db.read() as session:
        row = session.get_one(Schedule, key)
        assert (row.cron, row.every_seconds, row.version) == (None, 3600, 2)
        assert row.next_fire_at == row.starts_at + dt.timedelta(hours=1)


# --- Three processes, 200 slots, kill -9, and clocks put by an hour either way.

PROCESSES = 3
FIRES = 200


def scheduler(url: str, seconds: c_double, step: c_double, ready: c_double) -> None:
    """One scheduler process with clocks of the test: `seconds` pass for all, `step` is this host's fault."""
    db, passed = Database(url), 0.0

    def wall(_: Session) -> dt.datetime:
        nonlocal passed
        passed = seconds.value  # both clocks at one moment, as far as a minute goes
        return NOON + dt.timedelta(seconds=passed + step.value)

    guard = ClockGuard(lambda: passed)
    while True:
        firing.fire_due(db, guard, wall)
        ready.value = 1.0
        time.sleep(0.001)


class Schedulers:
    """Processes that a test kills and whose clocks it puts."""

    def __init__(self, url: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])
        self._url = url
        # Without locks: whoever is killed would keep one.
        self.seconds = self._context.Value("d", 0.0, lock=False)
        self.steps = [self._context.Value("d", 0.0, lock=False) for _ in range(PROCESSES)]
        self.ready = [self._context.Value("d", 0.0, lock=False) for _ in range(PROCESSES)]
        self._processes = [self._start(number) for number in range(PROCESSES)]

    def _start(self, number: int) -> Any:
        process = self._context.Process(
            target=scheduler, args=(self._url, self.seconds, self.steps[number], self.ready[number]), daemon=True
        )
        process.start()
        return process

    def kill(self, number: int) -> None:
        """SIGKILL, and a new process in its place on a host whose clock is right."""
        self._processes[number].kill()
        self._processes[number].join()
        self.steps[number].value = self.ready[number].value = 0.0
        self._processes[number] = self._start(number)

    def end(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()


@pytest.fixture
def three(filled: Catalogue) -> Iterator[Schedulers]:
    made = Schedulers(filled.db.engine.url.render_as_string(hide_password=False))
    yield made
    made.end()


def count(db: Database) -> int:
    with db.read() as session:
        return session.scalar(select(func.count(ScheduleRun.id))) or 0


def test_f04_three_schedulers_killed_and_with_clocks_put_by_an_hour_fire_200_slots_200_times(
    filled: Catalogue, three: Schedulers
) -> None:
    db, draw = filled.db, random.Random(4)  # noqa: S311 - no secret
    add(db)
    stepped: int | None = None
    for fired in range(1, FIRES + 1):
        # The first process keeps its clock; so each slot is somebody's in time.
        number, fault = draw.randrange(1, PROCESSES), draw.random()
        for step in three.steps:
            step.value = 0.0  # a clock that stays wrong for a minute is believed
        three.seconds.value = 60.0 * fired
        stepped = number if fault < 0.3 and number != stepped and three.ready[number].value else None
        if stepped is not None:  # one that is wrong from the start would be believed too
            three.steps[stepped].value = draw.choice([3600.0, -3600.0])
        if 0.3 < fault < 0.45:
            time.sleep(draw.uniform(0, 0.01))
            three.kill(draw.randrange(PROCESSES))
        deadline = time.monotonic() + 20
        while count(db) < fired and time.monotonic() < deadline:
            time.sleep(0.002)
        assert count(db) == fired
    time.sleep(0.2)
    assert slots(db) == list(range(1, FIRES + 1))
    assert {run.cause for run in runs(db)} == {"slot"}
    with db.read() as session:
        assert session.scalar(select(func.count(WorkItem.id)).where(WorkItem.kind == "check_schedule_run")) == FIRES
