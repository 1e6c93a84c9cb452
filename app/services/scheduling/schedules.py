"""Schedules: made, edited, paused, fired by hand, removed; their runs acknowledged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError
from sqlalchemy import delete as sql_delete
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app import fire_times
from app.db.base import new_id
from app.db.clock import now
from app.db.models import RunState, Schedule, ScheduleRun
from app.db.queries.schedules import find
from app.db.session import Database
from app.db.statements import changed, insert_new, lock_rows
from app.errors import (
    InvalidRequestError,
    NameTakenError,
    NotFoundError,
    StateConflictError,
)
from app.fire_times import FireTimes
from app.representations.schedules import AcknowledgeRequest, ScheduleChange, ScheduleRequest
from app.services import events, versions
from app.services.scheduling import firing, schedule_targets
from ensembles.errors import Problem, SpecError
from ensembles.gates import GateRule


def create(db: Database, request: ScheduleRequest) -> str:
    """Add a schedule; its id. It fires at the first slot from now on.

    Raises:
        InvalidRequestError: everything that is wrong with the request, at once.
        NameTakenError: another schedule has the name.
    """
    with db.write() as session:
        _check(session, request)
        at = now(session)
        columns = _columns(request, at)
        row = {"id": new_id(), **columns, "starts_at": at, "created_at": at, "updated_at": at, "version": 1}
        row["next_fire_at"] = None if request.paused else _times(columns, at).first_after(at)
        if not insert_new(session, Schedule, row):
            raise NameTakenError("schedule", request.name)
        events.record(session, "schedule_created", subject_id=row["id"], name=request.name)
        return str(row["id"])


def change(db: Database, key: str, request: ScheduleChange, expected: Collection[str] | None = None) -> str:
    """Edit a schedule; fields that the request does not set stay. Another timing counts from now on. Its id.

    Args:
        db: the database.
        key: id or name.
        request: what changes.
        expected: versions that may be edited; None: whichever it is.

    Raises:
        NotFoundError: no such schedule.
        InvalidRequestError: everything that is wrong with it afterwards, at once.
        NameTakenError: another schedule has the new name.
        PreconditionFailedError: it is another version.
    """
    edits = request.model_dump(mode="json", exclude_unset=True)
    try:
        with db.write() as session:
            schedule = _locked(session, key)
            versions.check("schedule", schedule.name, str(schedule.version), expected)
            before = _as_request(schedule)
            if edits.get("cron") is not None and "every" not in edits:
                edits["every"] = None
            if edits.get("every") is not None and "cron" not in edits:
                edits["cron"] = None
            after = _request({**before.model_dump(mode="json"), **edits})
            _check(session, after)
            at = now(session)
            columns = _columns(after, at)
            retimed = (after.cron, after.every, after.timezone) != (before.cron, before.every, before.timezone)
            if retimed or after.paused != before.paused:
                # An interval that only pauses keeps its beat.
                columns["starts_at"] = at if retimed else schedule.starts_at
                times = _times(columns, columns["starts_at"])
                columns["next_fire_at"] = None if after.paused else times.first_after(at)
            else:
                columns["next_fire_at"] = schedule.next_fire_at
            columns |= {"version": schedule.version + 1, "updated_at": at}
            changed(session, update(Schedule).where(Schedule.id == schedule.id).values(**columns))
            events.record(session, "schedule_changed", subject_id=schedule.id, fields=sorted(edits))
            return schedule.id
    except IntegrityError as error:
        raise NameTakenError("schedule", str(edits.get("name"))) from error


def pause(db: Database, key: str) -> str:
    """Fire no more until it is resumed; runs under way go on. Its id.

    Raises:
        NotFoundError: no such schedule.
    """
    return change(db, key, ScheduleChange(paused=True))


def resume(db: Database, key: str) -> str:
    """Fire again from the next slot on; what was missed meanwhile is not made up for. Its id.

    Raises:
        NotFoundError: no such schedule.
    """
    return change(db, key, ScheduleChange(paused=False))


def run_now(db: Database, key: str) -> str:
    """Begin a run beside the slots, paused or not; its id.

    Raises:
        NotFoundError: no such schedule.
        StateConflictError: as many of its runs are under way as may be.
    """
    with db.write() as session:
        schedule = find(session, key)
        run_id = firing.start_run(session, schedule, now(session), cause="manual")
        run = None if run_id is None else session.get(ScheduleRun, run_id)
        if run is None or run.state == RunState.SKIPPED:
            raise StateConflictError("schedule", schedule.name, "at its most runs at a time", "run")
        return run.id


def remove(db: Database, key: str, expected: Collection[str] | None = None) -> None:
    """Forget a schedule and its runs; evaluations stay.

    Raises:
        NotFoundError: no such schedule.
        PreconditionFailedError: it is another version.
    """
    with db.write() as session:
        schedule = _locked(session, key)
        versions.check("schedule", schedule.name, str(schedule.version), expected)
        changed(session, sql_delete(ScheduleRun).where(ScheduleRun.schedule_id == schedule.id))
        changed(session, sql_delete(Schedule).where(Schedule.id == schedule.id))
        events.record(session, "schedule_removed", subject_id=schedule.id, name=schedule.name)


def acknowledge(db: Database, key: str, run_id: str, request: AcknowledgeRequest) -> None:
    """Note that somebody looked at a run; with `accept`, later runs are judged against it.

    Raises:
        NotFoundError: no such schedule, or no such run of it.
        StateConflictError: the run is not over; or it is to be accepted and has no number.
    """
    with db.write() as session:
        schedule = find(session, key)
        run = session.get(ScheduleRun, run_id)
        if run is None or run.schedule_id != schedule.id:
            raise NotFoundError("run", run_id)
        if run.finished_at is None:
            raise StateConflictError("run", run_id, run.state, "acknowledged")
        if request.accept and (run.state != RunState.DONE or run.evaluation_id is None):
            raise StateConflictError("run", run_id, "without a number", "accepted")
        seen = {"acknowledged_at": now(session), "note": request.note}
        changed(session, update(ScheduleRun).where(ScheduleRun.id == run_id).values(**seen))
        if request.accept:
            accepted = update(Schedule).where(Schedule.id == schedule.id)
            changed(session, accepted.values(reference_run_id=run_id))
        events.record(session, "schedule_run_acknowledged", subject_id=run_id, accepted=request.accept)


def _locked(session: Session, key: str) -> Schedule:
    """The row as it is now, until this transaction ends.

    Raises:
        NotFoundError: there is none.
    """
    schedule = find(session, key)
    lock_rows(session, Schedule, [schedule.id])
    session.refresh(schedule)
    return schedule


def _check(session: Session, request: ScheduleRequest) -> None:
    problems = fire_times.problems_of(request.cron, request.every, request.timezone)
    if request.gate is not None:
        try:
            GateRule(request.gate.metric, request.gate.margin, request.gate.alpha)
        except SpecError as error:
            problems += [Problem(f"gate.{one.field}", one.rule, one.value, one.code) for one in error.problems]
    problems += schedule_targets.problems_of(session, request.target)
    if problems:
        raise InvalidRequestError(problems)


def _columns(request: ScheduleRequest, at: dt.datetime) -> dict[str, Any]:
    written = request.model_dump(mode="json", exclude={"every", "paused"})
    return {**written, "every_seconds": request.every, "starts_at": at}


def _times(columns: dict[str, Any], start: dt.datetime) -> FireTimes:
    return FireTimes(columns["cron"], columns["every_seconds"], start, columns["timezone"])


def _as_request(schedule: Schedule) -> ScheduleRequest:
    names = set(ScheduleRequest.model_fields) - {"every", "paused"}
    given = {name: getattr(schedule, name) for name in names}
    return _request({**given, "every": schedule.every_seconds, "paused": schedule.next_fire_at is None})


def _request(given: dict[str, Any]) -> ScheduleRequest:
    try:
        return ScheduleRequest.model_validate(given)
    except ValidationError as error:
        found = [Problem(".".join(map(str, one["loc"])), one["msg"], one["input"]) for one in error.errors()]
        raise InvalidRequestError(found) from error
