"""Gates: verdicts, one verdict, judging; baselines are promoted and forgotten."""

from __future__ import annotations

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from app.dashboard import commands, gate_commands, gating
from app.dashboard.blueprint import blueprint, runtime
from app.dashboard.gate_forms import BaselineForm, GateForm, attempt_on
from app.dashboard.paging import PAGE_SIZE, wanted
from app.db.models import EvaluationStatus
from app.db.queries import evaluations
from app.db.queries import gates as queries
from app.representations.gates import GateRequest
from app.services.comparing import gates as service

VERDICTS = ("pass", "fail", "inconclusive")

#: Finished evaluations that a form suggests.
_SUGGESTED = 50


@blueprint.get("/gates", endpoint="gates")
def list_gates() -> str:
    """Baselines, and one page of verdicts."""
    verdict = wanted("verdict")
    with runtime().db.read() as session:
        page = queries.list_page(
            session,
            cursor=wanted("cursor"),
            limit=PAGE_SIZE,
            candidate=wanted("candidate"),
            verdict=verdict if verdict in VERDICTS else None,
        )
        baselines = queries.baselines(session)
        references = [one for gate in page.items for one in (gate.baseline_reference, gate.candidate_reference)]
        sides = queries.sides(session, [*references, *(one.reference for one in baselines)])
    return render_template(
        "dashboard/gates.html",
        page=page,
        verdicts=[gating.judged(gate, sides) for gate in page.items],
        baselines=baselines,
        sides=sides,
        gating=gating,
        kinds=VERDICTS,
        filtered=any(map(wanted, ("verdict", "candidate", "cursor"))),
    )


@blueprint.get("/gates/<gate_id>", endpoint="gate")
def show_gate(gate_id: str) -> str:
    """One verdict, and what it rests on."""
    with runtime().db.read() as session:
        gate = queries.get(session, gate_id)
        sides = queries.sides(session, (gate.baseline_reference, gate.candidate_reference))
        standing = [one.name for one in queries.baselines(session) if one.reference == gate.candidate_reference]
    asked = GateRequest(
        baseline=gate.baseline,
        candidate=gate.candidate,
        metric=gate.metric,
        margin=gate.margin,
        alpha=gate.alpha,
        classes=gate.classes,
    )
    return render_template(
        "dashboard/gate.html",
        gate=gate,
        judged=gating.judged(gate, sides),
        gating=gating,
        standing=standing,
        again=_fields(gate.baseline, gate.candidate, asked),
        cli=gate_commands.gate_command(asked),
        curl=commands.curl_command(
            asked, request.url_root.rstrip("/"), "/api/v1/gates", with_token=runtime().settings.auth != "local"
        ),
        policy=gate_commands.gate_policy(asked),
    )


@blueprint.get("/gates/new", endpoint="new_gate")
def new_gate() -> str:
    """The form, as the address fills it."""
    return _gate_form(GateForm(MultiDict(request.args)))


@blueprint.post("/gates/new")
def judge() -> ResponseReturnValue:
    """Judge, and show the verdict."""
    form = GateForm(request.form)
    body = form.request()
    key = body and attempt_on(
        form, ("candidate", "baseline"), lambda: service.judge(runtime().db, runtime().artifacts, body)
    )
    if not key:
        return _gate_form(form), 422
    return redirect(url_for("dashboard.gate", gate_id=key), 303)


@blueprint.get("/baselines/new", endpoint="new_baseline")
def new_baseline() -> str:
    """The form, as the address fills it."""
    return _baseline_form(BaselineForm(MultiDict(request.args)))


@blueprint.post("/baselines/new")
def promote() -> ResponseReturnValue:
    """Let a name stand for something from now on."""
    form = BaselineForm(request.form)
    body, name = form.request(), form["name"].strip()

    def action() -> str:
        service.promote(runtime().db, name, body.reference, body.note)  # type: ignore[union-attr]
        return name

    if body is None or not attempt_on(form, ("reference",), action):
        return _baseline_form(form), 422
    flash(f"{name} is {body.reference} from now on. Verdicts that were given keep what it stood for then.", "good")
    return redirect(url_for("dashboard.gates"), 303)


@blueprint.post("/baselines/forget")
def forget() -> ResponseReturnValue:
    """Remove a baseline's name."""
    service.forget(runtime().db, request.form.get("name", ""))
    flash("Forgotten. Evaluations and verdicts stay.", "good")
    return redirect(url_for("dashboard.gates"), 303)


def _gate_form(form: GateForm) -> str:
    with runtime().db.read() as session:
        baselines = queries.baselines(session)
        newest = evaluations.list_page(session, cursor=None, limit=_SUGGESTED, status=EvaluationStatus.SUCCEEDED).items
    return render_template("dashboard/gate_form.html", form=form, baselines=baselines, newest=newest)


def _baseline_form(form: BaselineForm) -> str:
    with runtime().db.read() as session:
        baselines = queries.baselines(session)
        newest = evaluations.list_page(session, cursor=None, limit=_SUGGESTED, status=EvaluationStatus.SUCCEEDED).items
    return render_template("dashboard/baseline_form.html", form=form, baselines=baselines, newest=newest)


def _fields(baseline: str, candidate: str, asked: GateRequest) -> dict[str, str]:
    """The form's fields for the same question."""
    return {
        "baseline": baseline,
        "candidate": candidate,
        "metric": gate_commands.short_metric(asked),
        "margin": f"{gate_commands.margin(asked):g}",
        "alpha": f"{100 * asked.alpha:g}",
        "classes": "\n".join(asked.classes or ()),
    }
