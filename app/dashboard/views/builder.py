"""The ensemble builder: weights of what an evaluation has predicted, and what they do, at once."""

from __future__ import annotations

from typing import Literal, cast

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard import building
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.building import Building, SaveForm
from app.dashboard.paging import wanted
from app.db.models import EvaluationStatus
from app.db.queries import evaluations as queries
from app.errors import InvalidRequestError, NameTakenError
from app.representations.ensembles import OverName
from app.services.searching import contender_tables, weightings
from app.services.searching.search_units import Searchable
from ensembles.exact_sums import Rule

#: Finished evaluations that are offered where none is named.
_OFFERED = 20


@blueprint.get("/ensembles/new", endpoint="builder")
def build_ensemble() -> str:
    """Weights and their errors; without an evaluation, which there are."""
    evaluation_id = wanted("evaluation")
    if evaluation_id is None:
        with runtime().db.read() as session:
            newest = queries.list_page(session, cursor=None, limit=_OFFERED, status=EvaluationStatus.SUCCEEDED).items
        return render_template("dashboard/builder_empty.html", newest=newest)
    searchable, over, rule = _asked(evaluation_id, wanted("over"), wanted("rule"))
    count = len(searchable.units)
    weights = building.read_weights(request.args.getlist("w"), count) or weightings.own_weights(searchable)
    return _page(searchable, over, rule, weights, building.read_on(request.args.getlist("on"), count))


@blueprint.post("/ensembles/new")
def save_built() -> ResponseReturnValue:
    """Save what was built, by its weights."""
    form = SaveForm(request.form)
    searchable, over, rule = _asked(form["evaluation"], form["over"], form["rule"])
    count = len(searchable.units)
    weights = building.read_weights(form["weights"].split(","), count) or [0] * count
    if form.require(name="a name is needed"):
        try:
            key = weightings.save(
                runtime().db,
                searchable,
                weights,
                rule,
                name=form["name"].strip(),
                notes=form["notes"].strip(),
                fixed_beforehand=bool(form["fixed"]),
            )
        except (InvalidRequestError, NameTakenError) as error:
            form.refuse(error)
        else:
            flash(f"Saved as {form['name'].strip()}.", "good")
            return redirect(url_for("dashboard.ensemble", key=key), 303)
    return _page(searchable, over, rule, weights, [True] * count, form), 422


def _asked(evaluation_id: str, over: str | None, rule: str | None) -> tuple[Searchable, OverName, Rule]:
    unit = cast("OverName", over if over in building.OVERS else "checkpoints")
    searchable = contender_tables.find(runtime().db, runtime().artifacts, evaluation_id, unit)
    known = weightings.rules(searchable)
    default: Literal["mean", "geometric"] = "mean"
    return searchable, unit, next((one for one in known if one == rule), default)


def _page(
    searchable: Searchable,
    over: OverName,
    rule: Rule,
    weights: list[int],
    on: list[bool],
    form: SaveForm | None = None,
) -> str:
    effective = [weight if counts else 0 for weight, counts in zip(weights, on, strict=True)]
    found = weightings.weigh(runtime().artifacts, searchable, effective, rule) if any(effective) else None
    built: Building = building.lay_out(contender_tables.describe(searchable, over), weights, on, found)
    with runtime().db.read() as session:
        evaluation = queries.get(session, searchable.evaluation.id)
    return render_template(
        "dashboard/builder.html",
        evaluation=evaluation,
        built=built,
        over=over,
        rule=rule,
        overs=building.OVERS,
        rules={name: building.RULES[name] for name in weightings.rules(searchable)},
        largest=weightings.MAX_WEIGHT,
        form=form or SaveForm(MultiDict()),
        addresses={
            "equal": _address(evaluation.id, over, rule, [weightings.MAX_WEIGHT // 2] * len(weights)),
            "own": _address(evaluation.id, over, rule, weightings.own_weights(searchable)),
        },
    )


def _address(evaluation_id: str, over: str, rule: str, weights: list[int]) -> str:
    return url_for("dashboard.builder", evaluation=evaluation_id, over=over, rule=rule, w=weights)
