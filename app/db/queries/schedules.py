"""Reads of schedules, their runs and their trend."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from itertools import islice

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, undefer

from app.db.clock import now
from app.db.models import RunState, Schedule, ScheduleRun, Score
from app.db.queries.pages import newest_first
from app.errors import NotFoundError
from app.fire_times import FireTimes, in_words, next_clock_change, note_on, zone_of
from app.representations.base import ErrorInfo, Page
from app.representations.gates import Metric
from app.representations.schedules import (
    ALARMS,
    EnvironmentDiffDocument,
    EnvironmentDifference,
    FireTimeDocument,
    MovedImage,
    MovedImagesDocument,
    ScheduleDocument,
    ScheduleRunDocument,
    TrendDocument,
    TrendPoint,
)

#: How many fire times a document names.
FIRES = 5
#: Points of a trend, the newest.
MAX_POINTS = 500


def find(session: Session, key: str) -> Schedule:
    """The schedule with this id or name.

    Raises:
        NotFoundError: there is none; near names are suggested.
    """
    rows = session.scalars(select(Schedule).where(or_(Schedule.id == key, Schedule.name == key))).all()
    if not rows:
        raise NotFoundError("schedule", key, session.scalars(select(Schedule.name)))
    return next((row for row in rows if row.id == key), rows[0])


def get(session: Session, key: str) -> ScheduleDocument:
    """One schedule by id or name.

    Raises:
        NotFoundError: there is none.
    """
    return _documents(session, [find(session, key)])[0]


def list_page(session: Session, *, cursor: str | None, limit: int) -> Page[ScheduleDocument]:
    """Schedules, newest first.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    columns = (Schedule.created_at, Schedule.id)

    def render(rows: Sequence[Schedule]) -> list[ScheduleDocument]:
        return _documents(session, rows)

    return newest_first(session, select(Schedule), columns, cursor=cursor, limit=limit, render=render)


def coming(session: Session, limit: int = 5) -> list[ScheduleDocument]:
    """The schedules that fire next."""
    rows = select(Schedule).where(Schedule.next_fire_at.is_not(None)).order_by(Schedule.next_fire_at, Schedule.id)
    return _documents(session, session.scalars(rows.limit(limit)).all())


def alarms(session: Session, limit: int = 5) -> list[ScheduleRunDocument]:
    """The newest runs that somebody should look at and nobody has acknowledged."""
    rows = (
        select(ScheduleRun, Schedule.name)
        .join(Schedule, Schedule.id == ScheduleRun.schedule_id)
        .where(ScheduleRun.verdict.in_(ALARMS), ScheduleRun.acknowledged_at.is_(None))
        .order_by(ScheduleRun.id.desc())
        .limit(limit)
    )
    return [run_document(run, name) for run, name in session.execute(rows)]


def get_run(session: Session, key: str, run_id: str) -> ScheduleRunDocument:
    """One run.

    Raises:
        NotFoundError: no such schedule, or no such run of it.
    """
    schedule = find(session, key)
    return run_document(_run(session, schedule, run_id), schedule.name)


def list_runs(
    session: Session, key: str, *, cursor: str | None, limit: int, verdict: str | None = None
) -> Page[ScheduleRunDocument]:
    """Runs of one schedule, newest first.

    Raises:
        NotFoundError: no such schedule.
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    schedule = find(session, key)
    rows = select(ScheduleRun).where(ScheduleRun.schedule_id == schedule.id)
    if verdict is not None:
        rows = rows.where(ScheduleRun.verdict == verdict)

    def render(found: Sequence[ScheduleRun]) -> list[ScheduleRunDocument]:
        return [run_document(run, schedule.name) for run in found]

    columns = (ScheduleRun.created_at, ScheduleRun.id)
    return newest_first(session, rows, columns, cursor=cursor, limit=limit, render=render)


def moved_images(session: Session, key: str, run_id: str) -> MovedImagesDocument:
    """The images that moved in a run; none where nothing did, or nothing was computed again.

    Raises:
        NotFoundError: no such schedule, or no such run of it.
    """
    schedule = find(session, key)
    run = _run(session, schedule, run_id)
    moved = run.detail.get("moved") or {}
    rows = select(ScheduleRun).where(ScheduleRun.id == run.id).options(undefer(ScheduleRun.moved_images))
    listed = session.scalars(rows, execution_options={"populate_existing": True}).one().moved_images
    return MovedImagesDocument(
        run=run.id,
        images_compared=moved.get("compared", 0),
        moved=moved.get("images", 0),
        top1_moved=moved.get("top1", 0),
        items=[
            MovedImage(image=image, top1_before=before, top1_now=after, largest_difference=difference)
            for image, before, after, difference in listed
        ],
    )


def environment_diff(session: Session, key: str, base_id: str, run_id: str) -> EnvironmentDiffDocument:
    """What two runs of a schedule were not computed alike with.

    Raises:
        NotFoundError: no such schedule, or no such run of it.
    """
    schedule = find(session, key)
    base, run = _run(session, schedule, base_id), _run(session, schedule, run_id)
    return EnvironmentDiffDocument(base=base_id, run=run_id, differences=differences(base.environment, run.environment))


def differences(before: Sequence[dict[str, object]], now_: Sequence[dict[str, object]]) -> list[EnvironmentDifference]:
    """Fields whose values are not the same; several values where workers differed among themselves."""
    fields = sorted({field for one in (*before, *now_) for field in one})
    found = []
    for field in fields:
        sides = [sorted({str(one[field]) for one in side if one.get(field) is not None}) for side in (before, now_)]
        if sides[0] != sides[1]:
            found.append(EnvironmentDifference(field=field, before=list(sides[0]), now=list(sides[1])))
    return found


def trend(session: Session, key: str, metric: Metric = "top1_error") -> TrendDocument:
    """An error over the runs of a schedule, oldest first.

    Raises:
        NotFoundError: no such schedule.
    """
    schedule = find(session, key)
    rows = (
        select(ScheduleRun)
        .where(
            ScheduleRun.schedule_id == schedule.id,
            ScheduleRun.state == RunState.DONE,
            ScheduleRun.evaluation_id.is_not(None),
        )
        .order_by(ScheduleRun.id.desc())
        .limit(MAX_POINTS)
    )
    runs = list(reversed(session.scalars(rows).all()))
    scores = _scores(session, {str(run.evaluation_id) for run in runs}, metric)
    points = [
        TrendPoint(
            run=run.id,
            at=run.slot,
            evaluation=str(run.evaluation_id),
            verdict=run.verdict,
            value=score.value,
            low=score.low,
            high=score.high,
            n=score.n,
            acknowledged=run.acknowledged_at is not None,
        )
        for run in runs
        if (score := scores.get(str(run.evaluation_id))) is not None
    ]
    breaks = [point.run for point in points[1:] if point.verdict == "first"]
    return TrendDocument(schedule=schedule.id, metric=metric, points=points, breaks=breaks)


def run_document(run: ScheduleRun, schedule_name: str) -> ScheduleRunDocument:
    """A run as JSON."""
    url = f"/api/v1/schedules/{run.schedule_id}/runs/{run.id}"
    links = {"self": url, "schedule": f"/api/v1/schedules/{run.schedule_id}", "moved": f"{url}/moved"}
    if run.evaluation_id is not None:
        links["evaluation"] = f"/api/v1/evaluations/{run.evaluation_id}"
    return ScheduleRunDocument(
        id=run.id,
        schedule=run.schedule_id,
        schedule_name=schedule_name,
        slot=run.slot,
        cause=run.cause,
        missed_since=run.missed_since,
        state=run.state,
        verdict=run.verdict,
        findings=run.findings,
        detail=run.detail,
        evaluation=run.evaluation_id,
        verification=run.verification_id,
        previous_run=run.previous_run_id,
        reference_run=run.reference_run_id,
        request=run.request,
        fingerprints=run.fingerprints,
        environment=run.environment,
        error=ErrorInfo.of(run.error_code, run.error_message),
        acknowledged_at=run.acknowledged_at,
        note=run.note,
        created_at=run.created_at,
        finished_at=run.finished_at,
        links=links,
    )


def fire_times(cron: str | None, times: FireTimes, after: dt.datetime, count: int = FIRES) -> list[FireTimeDocument]:
    """The next times of a timing, as the clocks of its zone show them."""
    zone = zone_of(times.zone)
    return [
        FireTimeDocument(at=at, local=local_words(at.astimezone(zone)), note=note_on(cron, times.zone, at))
        for at in islice(times.after(after), count)
    ]


def local_words(local: dt.datetime) -> str:
    """An instant as a clock on the wall shows it, with the offset that tells two equal ones apart."""
    offset = f"{local:%z}"
    return f"{local:%a} {local.day} {local:%b %Y, %H:%M} (UTC{offset[:3]}:{offset[3:5]})"


def clock_change_words(zone_name: str, after: dt.datetime) -> str | None:
    """When the clocks of a zone are next put forward or back; None where they are not."""
    found = next_clock_change(zone_name, after)
    if found is None:
        return None
    at, by = found
    before = (at - dt.timedelta(seconds=1)).astimezone(zone_of(zone_name))
    minutes = round(abs(by.total_seconds()) / 60)
    direction = "forward" if by > dt.timedelta() else "back"
    shown = before + dt.timedelta(seconds=1)
    return f"Clocks in {zone_name} are put {direction} by {minutes} minutes on {shown:%a} {shown.day} {shown:%b %Y}."


def _documents(session: Session, rows: Sequence[Schedule]) -> list[ScheduleDocument]:
    at = now(session)
    newest = {}
    for row in rows:
        runs = select(ScheduleRun).where(ScheduleRun.schedule_id == row.id).order_by(ScheduleRun.id.desc()).limit(1)
        newest[row.id] = session.scalars(runs).one_or_none()
    return [_document(row, newest[row.id], at) for row in rows]


def _document(row: Schedule, last: ScheduleRun | None, at: dt.datetime) -> ScheduleDocument:
    url = f"/api/v1/schedules/{row.id}"
    times = FireTimes(row.cron, row.every_seconds, row.starts_at, row.timezone)
    # What is due and not fired yet comes first.
    since = at if row.next_fire_at is None else min(at, row.next_fire_at - dt.timedelta(seconds=1))
    return ScheduleDocument(
        id=row.id,
        name=row.name,
        version=row.version,
        cron=row.cron,
        every=row.every_seconds,
        timezone=row.timezone,
        words=in_words(row.cron, row.every_seconds),
        paused=row.next_fire_at is None,
        next_fire_at=row.next_fire_at,
        next_fires=[] if row.next_fire_at is None else fire_times(row.cron, times, since),
        clock_change=None if row.cron is None else clock_change_words(row.timezone, at),
        misfire=row.misfire,
        max_active=row.max_active,
        target=row.target,
        verify=row.verify,
        sample_images=row.sample_images,
        tolerance=row.tolerance,
        gate=row.gate,
        notify=row.notify,
        reference_run=row.reference_run_id,
        last_run=None if last is None else run_document(last, row.name),
        created_at=row.created_at,
        updated_at=row.updated_at,
        links={"self": url, "runs": f"{url}/runs", "trend": f"{url}/trend"},
    )


def _run(session: Session, schedule: Schedule, run_id: str) -> ScheduleRun:
    run = session.get(ScheduleRun, run_id)
    if run is None or run.schedule_id != schedule.id:
        raise NotFoundError("run", run_id)
    return run


def _scores(session: Session, evaluation_ids: set[str], metric: str) -> dict[str, Score]:
    """The number of each evaluation: its ensemble's, or that of its only member over all its views."""
    rows = select(Score).where(Score.evaluation_id.in_(evaluation_ids), Score.metric == metric)
    last: dict[str, Score] = {}
    # Rows end with checkpoints, then the ensemble: the last one is the whole.
    for score in session.scalars(rows.order_by(Score.evaluation_id, Score.position)):
        last[score.evaluation_id] = score
    return last
