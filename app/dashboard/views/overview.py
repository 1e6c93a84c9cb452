"""The first page: what is best, what runs, and what to do where there is nothing yet."""

from __future__ import annotations

from flask import render_template

from app.dashboard import leaders
from app.dashboard.blueprint import blueprint, runtime
from app.db.queries import checkpoints, datasets, evaluations, overview, schedules, workers

#: Ended evaluations that are shown, newest first.
RECENT = 6


@blueprint.get("/", endpoint="overview")
def show_overview() -> str:
    """Best results of each data set, running evaluations, the newest ones, workers."""
    with runtime().db.read() as session:
        best = leaders.lay_out(overview.best(session))
        return render_template(
            "dashboard/overview.html",
            leaders=best,
            running=overview.running(session),
            recent=evaluations.list_page(session, cursor=None, limit=RECENT).items,
            workers=workers.list_all(session),
            alarms=schedules.alarms(session),
            coming=schedules.coming(session),
            has_dataset=bool(datasets.list_page(session, cursor=None, limit=1).items),
            has_checkpoint=bool(checkpoints.list_page(session, cursor=None, limit=1).items),
        )
