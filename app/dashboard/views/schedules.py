"""Schedules: the list, the editor with the next fire times, one schedule with its trend, one run."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard import trend as trends
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.forms import attempt
from app.dashboard.paging import PAGE_SIZE, wanted
from app.dashboard.schedule_form import METRICS, MISFIRES, UNITS, VERIFIES, ScheduleForm, filled, keeps_target
from app.db.queries import checkpoints, datasets, ensembles
from app.db.queries import schedules as queries
from app.errors import NotFoundError, PreconditionFailedError, StateConflictError
from app.fire_times import known_zones
from app.representations.schedules import ALARMS, AcknowledgeRequest, ScheduleChange, ScheduleDocument
from app.services.scheduling import schedules as service
from ensembles.protocols import PRESETS

#: Moved images that a page shows.
_SHOWN_IMAGES = 100


@blueprint.get("/schedules", endpoint="schedules")
def list_schedules() -> str:
    """One page of the list."""
    with runtime().db.read() as session:
        page = queries.list_page(session, cursor=wanted("cursor"), limit=PAGE_SIZE)
    return render_template("dashboard/schedules.html", page=page, words=trends.VERDICT_WORDS)


@blueprint.get("/schedules/new", endpoint="new_schedule")
def new_schedule() -> str:
    """The form, as the address fills it."""
    return _form(ScheduleForm(MultiDict(request.args)))


@blueprint.post("/schedules/new")
def create_schedule() -> ResponseReturnValue:
    """Make a schedule, and show it."""
    form = ScheduleForm(request.form)
    body = form.request()
    key = body and attempt(form, lambda: service.create(runtime().db, body))
    if not key:
        return _form(form), 422
    return redirect(url_for("dashboard.schedule", key=key), 303)


@blueprint.get("/schedules/<key>", endpoint="schedule")
def show_schedule(key: str) -> str:
    """One schedule: what comes, its trend, its runs."""
    metric = request.args.get("metric", "top1_error")
    with runtime().db.read() as session:
        schedule = queries.get(session, key)
        trend = queries.trend(session, key, "top5_error" if metric == "top5_error" else "top1_error")
        page = queries.list_runs(session, key, cursor=wanted("cursor"), limit=PAGE_SIZE)

    def address(run_id: str) -> str:
        return url_for("dashboard.schedule_run", key=schedule.id, run_id=run_id)

    drawn = [trends.chart(trend, address, width) for width in (860, 340)] if trend.points else []
    return render_template(
        "dashboard/schedule.html",
        schedule=schedule,
        trend=trend,
        charts_drawn=drawn,
        trends=trends,
        page=page,
        target=_target_words(schedule),
        verifies=VERIFIES,
        misfires=MISFIRES,
        metrics=METRICS,
    )


@blueprint.get("/schedules/<key>/edit", endpoint="edit_schedule")
def edit_schedule(key: str) -> str:
    """The form, filled with what there is; or with what the address says, as its fire times are asked for."""
    with runtime().db.read() as session:
        schedule = queries.get(session, key)
    form = ScheduleForm(MultiDict(request.args)) if request.args else filled(schedule)
    return _form(form, schedule)


@blueprint.post("/schedules/<key>/edit")
def change_schedule(key: str) -> ResponseReturnValue:
    """Edit a schedule; of two people who edit at once, the second is told."""
    with runtime().db.read() as session:
        schedule = queries.get(session, key)
    form = ScheduleForm(request.form)
    body = form.request()
    if body is None:
        return _form(form, schedule), 422
    given = body.model_dump(mode="json", exclude={"paused"})
    if keeps_target(schedule):
        del given["target"]
    edits = ScheduleChange.model_validate(given)
    try:
        changed = attempt(form, lambda: service.change(runtime().db, key, edits, {form["version"]}))
    except PreconditionFailedError:
        form.add("name", "somebody edited this schedule meanwhile; open it again to see how")
        changed = None
    if not changed:
        return _form(form, schedule), 422
    flash("Saved.", "good")
    return redirect(url_for("dashboard.schedule", key=schedule.id), 303)


@blueprint.post("/schedules/<key>/<action>")
def act_on_schedule(key: str, action: str) -> ResponseReturnValue:
    """Pause, resume, run or remove a schedule."""
    db = runtime().db
    with db.read() as session:
        schedule = queries.get(session, key)
    if action == "run":
        try:
            run_id = service.run_now(db, schedule.id)
        except StateConflictError as error:
            flash(str(error), "bad")
        else:
            return redirect(url_for("dashboard.schedule_run", key=schedule.id, run_id=run_id), 303)
    elif action == "pause":
        service.pause(db, schedule.id)
        flash("Paused. It fires no more until it is resumed.", "good")
    elif action == "resume":
        service.resume(db, schedule.id)
        flash("Resumed.", "good")
    elif action == "remove":
        service.remove(db, schedule.id)
        flash(f"{schedule.name} is forgotten, with its runs. Evaluations stay.", "good")
        return redirect(url_for("dashboard.schedules"), 303)
    else:
        abort(404)
    return redirect(url_for("dashboard.schedule", key=schedule.id), 303)


@blueprint.get("/schedules/<key>/runs/<run_id>", endpoint="schedule_run")
def show_run(key: str, run_id: str) -> str:
    """One run: what it found, which images moved, what it was not computed alike with."""
    with runtime().db.read() as session:
        schedule = queries.get(session, key)
        run = queries.get_run(session, key, run_id)
        moved = queries.moved_images(session, key, run_id)
        others = [one for one in queries.list_runs(session, key, cursor=None, limit=50).items if one.environment]
        base_id = wanted("base") or run.previous_run
        try:
            base = None if base_id is None or base_id == run.id else queries.get_run(session, key, base_id)
        except NotFoundError:
            base = None
    return render_template(
        "dashboard/schedule_run.html",
        schedule=schedule,
        run=run,
        base=base,
        others=[one for one in others if one.id != run.id],
        differences=[] if base is None else queries.differences(base.environment, run.environment),
        moved=moved.items[:_SHOWN_IMAGES],
        moved_count=moved,
        words=trends.VERDICT_WORDS,
        trends=trends,
    )


@blueprint.post("/schedules/<key>/runs/<run_id>/acknowledge")
def acknowledge_run(key: str, run_id: str) -> ResponseReturnValue:
    """Note that somebody looked."""
    accept = bool(request.form.get("accept"))
    note = request.form.get("note", "").replace("\x00", "")[:10_000]
    service.acknowledge(runtime().db, key, run_id, AcknowledgeRequest(note=note, accept=accept))
    flash("Acknowledged." + (" Later runs are judged against this one." if accept else ""), "good")
    return redirect(url_for("dashboard.schedule_run", key=key, run_id=run_id), 303)


def _form(form: ScheduleForm, schedule: ScheduleDocument | None = None) -> str:
    at = dt.datetime.now(dt.UTC)
    times = form.times()
    form_problems = list(form.problems)
    if times is not None and times.cron is None:
        times = replace(times, start=at)
    with runtime().db.read() as session:
        known = checkpoints.list_page(session, cursor=None, limit=200).items
        sets = datasets.list_page(session, cursor=None, limit=200).items
        saved = ensembles.list_page(session, cursor=None, limit=200).items
    form.problems = form_problems if request.method == "POST" else []
    return render_template(
        "dashboard/schedule_form.html",
        form=form,
        schedule=schedule,
        kept=schedule is not None and keeps_target(schedule),
        fires=[] if times is None else queries.fire_times(times.cron, times, at),
        clock_change=None if times is None or times.cron is None else queries.clock_change_words(times.zone, at),
        timing_words=form.words(),
        checkpoints=[one for one in known if one.state == "ready"],
        datasets=[one for one in sets if one.state == "ready"],
        ensembles=saved,
        zones=sorted(known_zones()),
        presets=list(PRESETS),
        units=list(UNITS),
        verifies=VERIFIES,
        misfires=MISFIRES,
        metrics=METRICS,
        verdicts={one: trends.VERDICT_WORDS[one] for one in ALARMS},
    )


def _target_words(schedule: ScheduleDocument) -> str:
    target = schedule.target
    if target.get("ensemble"):
        return f"saved ensemble {target['ensemble']}"
    if target.get("tag"):
        return f"whatever has the tag {target['tag']}"
    return " + ".join(one if isinstance(one, str) else one["checkpoint"] for one in target.get("checkpoints") or ())
