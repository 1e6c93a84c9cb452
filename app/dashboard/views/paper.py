"""The paper's tables with the rows of evaluations beside the printed ones."""

from __future__ import annotations

from flask import render_template

from app.dashboard import paper
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.paging import wanted
from app.db.queries import evaluations
from app.db.queries import paper as queries


@blueprint.get("/evaluations/<evaluation_id>/paper", endpoint="paper")
def show_paper(evaluation_id: str) -> str:
    """Tables 1-7; `with` names further evaluations, comma-separated."""
    others = [other for other in (wanted("with") or "").replace(",", " ").split() if other != evaluation_id]
    with runtime().db.read() as session:
        evaluation = evaluations.get(session, evaluation_id)
        document = queries.get(session, [evaluation_id, *others])
    return render_template("dashboard/paper.html", evaluation=evaluation, others=others, document=document, paper=paper)
