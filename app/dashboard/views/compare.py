"""Sides beside a base: which is better, and whether that is real."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.dashboard import comparing
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.paging import wanted
from app.representations.comparisons import COMPARED_METRICS
from app.services.comparing import comparisons as service

#: What the page's address holds; a form sends more.
_PARAMETERS = ("base", "candidate", "metric")


@blueprint.get("/compare", endpoint="compare")
def show_comparison() -> ResponseReturnValue:
    """Candidates beside a base by one metric; without a base the first candidate is it."""
    asked = [side.strip() for side in request.args.getlist("candidate") if side.strip()]
    sides = list(dict.fromkeys([wanted("base") or "", *asked]))
    sides = [side for side in sides if side]
    base, candidates = (sides[0], sides[1:]) if sides else (None, [])
    metric = wanted("metric")
    if (base, candidates) != (wanted("base"), asked) or set(request.args) - set(_PARAMETERS):
        return redirect(url_for("dashboard.compare", base=base, candidate=candidates, metric=metric))
    if base is None or not candidates:
        return render_template("dashboard/compare_empty.html", base=base)
    document = service.compare(runtime().db, runtime().artifacts, base, candidates, [metric or "top1_error"])
    return render_template(
        "dashboard/compare.html",
        comparison=comparing.summarise(document),
        comparing=comparing,
        metrics=COMPARED_METRICS,
        here_with=lambda metric: url_for("dashboard.compare", base=base, candidate=candidates, metric=metric),
    )
