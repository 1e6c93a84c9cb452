"""Failed requests as pages: what went wrong, and what to do next."""

from __future__ import annotations

import re

from flask import render_template, request, url_for

from app.representations.problems import ProblemDocument

#: What to do next, by error code, then by status.
ADVICE: dict[str | int, str] = {
    "database_unavailable": "The database does not answer just now. Nothing was lost; load the page again in a moment.",
    "state_conflict": "Its state changed meanwhile. Go back and load the page again to see it as it is.",
    "in_use": "What evaluations stand on is kept, so that their numbers stay explained.",
    "foreign_host": "Open the dashboard under this machine's own name, such as localhost.",
    "forbidden": "Ask an admin for the role that may do this. Viewers read, runners start work, admins manage users.",
    "setup_link_invalid": "Log in, if somebody has set this up; else restart the web process, which prints a new link.",
    "rate_limited": "Wait a moment, then go back and try again.",
    400: "Go back, load the page again and try once more. A form that was open through a restart asks for this.",
    404: "It may have been deleted, or the address was mistyped.",
    405: "This address is the target of a form and cannot be opened by itself.",
    422: "Correct the address, or start from one of the pages below.",
}

#: The same on the page of comparisons, where other sides may be as good as before.
COMPARE_ADVICE: dict[str | int, str] = {
    "not_found": "A side is an evaluation's id, or ID:NAME for one of its members. Leave this one out, or choose anew.",
    "state_conflict": "Only a finished evaluation has answers to compare. Wait until it has succeeded or leave it out.",
    "outcomes_missing": "Clone it and submit it again: its predictions are kept, so it is only fused. Or leave it out.",
    "artifact_damaged": "Clone it and submit it again: it is fused anew from its predictions. Or leave it out.",
    422: "Change the sides: choose others, or leave one out.",
}

#: Sides that the page of a refused comparison offers to leave out.
_REPAIRS_SHOWN = 10

FALLBACK = "Go back and try again; if it stays, the server's log says more, under the time and the code above."


def error_page(problem: ProblemDocument) -> str:
    """The page for a problem, as HTML."""
    comparing = request.endpoint == "dashboard.compare"
    known = {**ADVICE, **COMPARE_ADVICE} if comparing else ADVICE
    advice = known.get(problem.code) or known.get(problem.status) or FALLBACK
    return render_template(
        "dashboard/error.html", problem=problem, advice=advice, repairs=_without(problem) if comparing else {}
    )


def _without(problem: ProblemDocument) -> dict[str, str]:
    """Addresses of the comparison without one of its sides, by that side: those that the problem names, or each."""
    sides = [request.args.get("base", ""), *request.args.getlist("candidate")]
    if len(sides) < 3:
        return {}
    guilty = [side for side in sides if _names(problem.detail, side)]
    guilty = guilty or [side for side in sides if any(_names(problem.detail, part) for part in side.split(":", 1))]
    guilty = guilty or sides
    if len(guilty) > _REPAIRS_SHOWN:
        return {}
    metric = request.args.get("metric")
    kept = {side: [other for other in sides if other != side] for side in guilty}
    return {
        side: url_for("dashboard.compare", base=others[0], candidate=others[1:], metric=metric)
        for side, others in kept.items()
    }


def _names(text: str, name: str) -> bool:
    """Whether the text holds the name as a whole: an id alone is not the member ID:NAME."""
    return re.search(rf"(?<![\w:-]){re.escape(name)}(?![\w:-])", text) is not None
