"""Slots: each fires once, whoever looks and however often. Called from the scheduler process, of which any may run.

One transaction a slot moves the schedule on, adds its run and hands it to a worker. The run is unique by schedule and
slot, and the schedule is moved only from the slot that was read, so that of several schedulers one fires it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfoNotFoundError

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.models import LIVE_RUNS, RunState, Schedule, ScheduleRun, WorkItem
from app.db.session import Database
from app.db.statements import changed, insert_new
from app.fire_times import FireTimes
from app.services import events
from app.services.scheduling.clock_guard import ClockGuard

Clock = Callable[[Session], dt.datetime]

#: A slot that nobody fired for so long was missed: the misfire policy decides.
GRACE = dt.timedelta(seconds=60)
#: Schedules that one look fires.
_AT_ONCE = 100


def fire_due(db: Database, guard: ClockGuard, clock: Clock = now) -> list[str]:
    """Fire every slot that has come.

    Args:
        db: the database.
        guard: of this process; nothing fires while it mistrusts the clock.
        clock: reads the time.

    Returns:
        Ids of the runs that this call added.
    """
    with db.read() as session:
        at = clock(session)
        if not guard.trusts(at):
            return []
        due = select(Schedule.id).where(Schedule.next_fire_at <= at).order_by(Schedule.next_fire_at).limit(_AT_ONCE)
        candidates = list(session.scalars(due))
    fired = []
    for schedule_id in candidates:
        with db.write() as session:
            try:
                run_id = _fire(session, schedule_id, clock(session), guard)
            except ZoneInfoNotFoundError as error:  # time zones of this host are older than those it was made with
                run_id = None
                changed(session, update(Schedule).where(Schedule.id == schedule_id).values(next_fire_at=None))
                events.record(session, "schedule_paused", subject_id=schedule_id, reason=str(error))
        if run_id is not None:
            fired.append(run_id)
    return fired


def timing_of(schedule: Schedule) -> FireTimes:
    """When a schedule fires."""
    return FireTimes(schedule.cron, schedule.every_seconds, schedule.starts_at, schedule.timezone)


def start_run(session: Session, schedule: Schedule, slot: dt.datetime, **columns: object) -> str | None:
    """Add a run with the work item that begins it, or one that is skipped where too many are under way.

    Returns:
        Its id; None where the slot has a run already.
    """
    run_id, item_id = new_id(), new_id()
    live = select(func.count(ScheduleRun.id)).where(
        ScheduleRun.schedule_id == schedule.id, ScheduleRun.state.in_(LIVE_RUNS)
    )
    skipped = session.execute(live).scalar_one() >= schedule.max_active
    row = {"id": run_id, "schedule_id": schedule.id, "slot": slot, "created_at": now(session), **columns}
    if skipped:
        reason = f"{schedule.max_active} of this schedule's runs were under way, as many as may be"
        row |= {"state": RunState.SKIPPED, "finished_at": now(session), "findings": [reason]}
    else:
        row["item_id"] = item_id
    if not insert_new(session, ScheduleRun, row):
        return None
    if not skipped:
        priority = int(schedule.target.get("priority", 5))
        payload = {"run": run_id}
        session.add(
            WorkItem(id=item_id, kind="check_schedule_run", queue="predict", priority=priority, payload=payload)
        )
    kind = "schedule_slot_skipped" if skipped else "schedule_fired"
    events.record(session, kind, subject_id=run_id, schedule=schedule.name, slot=slot.isoformat())
    return run_id


def _fire(session: Session, schedule_id: str, at: dt.datetime, guard: ClockGuard) -> str | None:
    """Fire one schedule's slot, if it is still to be fired."""
    schedule = session.get(Schedule, schedule_id)
    # Looked at again inside the transaction: the clock may have been put back since.
    if schedule is None or schedule.next_fire_at is None or schedule.next_fire_at > at or not guard.trusts(at):
        return None
    times, due = timing_of(schedule), schedule.next_fire_at
    slot = times.last_until(at, due)
    still_due = (Schedule.id == schedule_id, Schedule.next_fire_at == due)
    if not changed(session, update(Schedule).where(*still_due).values(next_fire_at=times.first_after(at))):
        return None
    late = at - slot > GRACE
    if late and schedule.misfire == "skip":
        events.record(session, "schedule_slots_missed", subject_id=schedule_id, since=due.isoformat())
        return None
    if slot == due and not late:
        return start_run(session, schedule, slot)
    cause = "slot" if schedule.misfire == "skip" else "catch_up"
    return start_run(session, schedule, slot, cause=cause, missed_since=due)
