"""Schedules with runs as workers would leave them, for tests of what is shown."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from sqlalchemy import update

from app.db.models import RunState, Schedule, ScheduleRun, WorkItem
from app.representations.schedules import ScheduleRequest
from app.runtime import Runtime
from app.services.scheduling import schedules
from tests.history import History

BEGIN = dt.datetime(2026, 3, 1, 3, tzinfo=dt.UTC)


def add_schedule(runtime: Runtime, name: str, checkpoints: Sequence[str], dataset: str = "digits") -> str:
    """Every night at three; its id."""
    request = {
        "name": name,
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "target": {"dataset": dataset, "checkpoints": list(checkpoints), "protocol": {"scales": [32]}},
        "max_active": 100,
    }
    return schedules.create(runtime.db, ScheduleRequest.model_validate(request))


def add_run(runtime: Runtime, history: History, schedule: str, night: int, wrong: list[int], verdict: str) -> str:
    """A run of one night with a number of its own; its id."""
    run_id = schedules.run_now(runtime.db, schedule)
    with runtime.db.write() as session:
        # Its item of work is nobody's: this function is the worker.
        row = session.get_one(ScheduleRun, run_id)
        session.delete(session.get_one(WorkItem, row.item_id))
        target = session.get_one(Schedule, schedule).target
    evaluation = history.submit(**{name: value for name, value in target.items() if name != "tag"} | {"force": True})
    history.predict()
    history.finish(evaluation, wrong)
    drift = verdict == "drift"
    ended = {
        "slot": BEGIN + dt.timedelta(days=night),
        "created_at": BEGIN + dt.timedelta(days=night),
        "cause": "slot",
        "state": RunState.DONE,
        "item_id": None,
        "evaluation_id": evaluation,
        "verdict": verdict,
        "findings": [f"What night {night} found: {verdict}."],
        "finished_at": BEGIN + dt.timedelta(days=night, minutes=4),
        "environment": [{"device_name": "AMD EPYC 7B13", "pillow": f"{night}.0", "torch": "2.14.0", "threads": 2}],
        "detail": {"moved": {"compared": 1797, "images": 1, "top1": 1, "largest_difference": 0.4}} if drift else {},
        "moved_images": [["c/3.png", "3", "5", 0.4]] if drift else [],
        "fingerprints": {
            "dataset": {"name": "digits", "fingerprint": "d" * 64, "images": 1797},
            "checkpoints": [{"name": "digits-d", "fingerprint": "f" * 64, "sha256": "a" * 64}],
            "protocol": "p" * 64,
        },
    }
    with runtime.db.write() as session:
        earlier = session.query(ScheduleRun.id).filter(ScheduleRun.schedule_id == schedule, ScheduleRun.id < run_id)
        previous = earlier.order_by(ScheduleRun.id.desc()).first()
        ended["previous_run_id"] = None if previous is None else previous[0]
        session.execute(update(ScheduleRun).where(ScheduleRun.id == run_id).values(**ended))
        if verdict == "first":
            session.execute(update(Schedule).where(Schedule.id == schedule).values(reference_run_id=run_id))
    return run_id
