"""Failed requests as pages: what went wrong, and what to do next."""

from __future__ import annotations

from flask import render_template

from app.representations.problems import ProblemDocument

#: What to do next, by error code, then by status.
ADVICE: dict[str | int, str] = {
    "database_unavailable": "The database does not answer just now. Nothing was lost; load the page again in a moment.",
    "state_conflict": "Its state changed meanwhile. Go back and load the page again to see it as it is.",
    "in_use": "What evaluations stand on is kept, so that their numbers stay explained.",
    "foreign_host": "Open the dashboard under this machine's own name, such as localhost.",
    400: "Go back, load the page again and try once more. A form that was open through a restart asks for this.",
    404: "It may have been deleted, or the address was mistyped.",
    405: "This address is the target of a form and cannot be opened by itself.",
    422: "Correct the address, or start from one of the pages below.",
}

FALLBACK = "Go back and try again; if it stays, the server's log says more, under the time and the code above."


def error_page(problem: ProblemDocument) -> str:
    """The page for a problem, as HTML."""
    advice = ADVICE.get(problem.code) or ADVICE.get(problem.status) or FALLBACK
    return render_template("dashboard/error.html", problem=problem, advice=advice)
