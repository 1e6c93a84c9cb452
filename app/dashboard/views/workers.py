"""Who does the work."""

from __future__ import annotations

from flask import render_template

from app.dashboard.blueprint import blueprint, runtime
from app.db.queries import workers as queries


@blueprint.get("/workers", endpoint="workers")
def list_workers() -> str:
    """Every worker that is or was lately alive."""
    with runtime().db.read() as session:
        return render_template("dashboard/workers.html", workers=queries.list_all(session))
