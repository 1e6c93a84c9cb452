"""Gates and baselines as JSON, as JUnit XML for CI, and as Markdown for people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Annotated, Literal
from xml.etree import ElementTree as ET

from pydantic import ConfigDict, Field

from app.representations.base import Document, Request
from app.representations.requests import NO_NUL, Name
from app.representations.tabular import Cell, markdown_table

Verdict = Literal["pass", "fail", "inconclusive"]
Metric = Literal["top1_error", "top5_error", "nll"]
#: As people say them, on the command line, in policy files and forms.
SHORT_METRICS: dict[str, Metric] = {"top1": "top1_error", "top5": "top5_error", "nll": "nll"}
Reference = Annotated[str, Field(min_length=1, max_length=300, pattern=r"^[^\x00-\x1f\x7f]+$")]


class GateRequest(Request):
    """Judge a candidate against a baseline on the images that both scored.

    Either side is an evaluation's id, `ID:NAME` for one of its members, or the name of a baseline. `margin` is how much
    worse the candidate may be: a fraction for errors (0.005 is half a point), nats for nll. `classes` restricts the
    images to those of some classes.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"baseline": "production", "candidate": "01a20c60102f22f610d6df17", "margin": 0.005}]
        }
    )

    baseline: Reference
    candidate: Reference
    metric: Metric = "top1_error"
    margin: float = Field(default=0.005, ge=0)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    classes: list[Name] | None = Field(default=None, min_length=1, max_length=10_000)


class GateDocument(Document):
    """A verdict, and what it rests on; differences are candidate minus baseline, fractions (nats for nll).

    `low` and `high` bound the difference with confidence 1 - 2 alpha: `high` below the margin is a pass.
    """

    id: str
    verdict: Verdict
    reason: str
    baseline: str
    # What the names of baselines stood for then.
    baseline_reference: str
    candidate: str
    candidate_reference: str
    metric: Metric
    margin: float
    alpha: float
    classes: list[str] | None
    baseline_value: float
    candidate_value: float
    difference: float
    low: float
    high: float
    p_worse: float
    n_used: int
    n_total: int
    sequential: bool
    only_base_wrong: int | None
    only_candidate_wrong: int | None
    detectable_difference_80: float | None
    images_to_settle: int | None
    protocols_differ: list[str]
    created_at: dt.datetime
    links: dict[str, str]


class BaselineRequest(Request):
    """Let a name stand for an evaluation, or for one member of it, from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reference": "01a20c60102f22f610d6df17", "note": "v2"}]})

    reference: Reference
    note: Annotated[str, Field(max_length=10_000, pattern=NO_NUL)] = ""


class BaselineDocument(Document):
    """A name and what it stands for."""

    name: str
    reference: str
    evaluation: str
    note: str
    promoted_at: dt.datetime


class SideDocument(Document):
    """What a reference is about: an evaluation's ensemble, or one checkpoint of it."""

    reference: str
    evaluation: str
    checkpoints: list[str]
    dataset: str


def title(gate: GateDocument) -> str:
    """What a gate asked, in one line."""
    of_classes = f" on {len(gate.classes)} classes" if gate.classes else ""
    return f"{gate.metric.replace('_', ' ')} of {gate.candidate} against {gate.baseline}{of_classes}"


def to_junit(gates: Sequence[GateDocument]) -> str:
    """JUnit XML: a failure is a failure, an inconclusive gate an error, so that neither looks green."""
    failed = sum(gate.verdict == "fail" for gate in gates)
    unsure = sum(gate.verdict == "inconclusive" for gate in gates)
    suite = ET.Element(
        "testsuite",
        name="softvote gates",
        tests=str(len(gates)),
        failures=str(failed),
        errors=str(unsure),
        skipped="0",
        time="0",
    )
    for gate in gates:
        case = ET.SubElement(suite, "testcase", classname="softvote.gate", name=title(gate), time="0")
        if gate.verdict != "pass":
            kind = "failure" if gate.verdict == "fail" else "error"
            problem = ET.SubElement(case, kind, type=gate.verdict, message=gate.reason)
            problem.text = "\n".join(f"{name}: {value}" for name, value in _facts(gate))
    root = ET.Element("testsuites", tests=suite.get("tests", ""), failures=str(failed), errors=str(unsure))
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def to_markdown(gates: Sequence[GateDocument]) -> str:
    """For a pull request: the worst verdict first, one table, the reasons."""
    order = ("fail", "inconclusive", "pass")
    worst = min((gate.verdict for gate in gates), key=order.index)
    rows: list[dict[str, Cell]] = [
        {
            "gate": title(gate),
            "verdict": gate.verdict.upper(),
            "baseline": _shown(gate.baseline_value, gate.metric),
            "candidate": _shown(gate.candidate_value, gate.metric),
            "difference": _interval(gate),
            "margin": _signed(gate.margin, gate.metric),
            "n": gate.n_used,
            "why": gate.reason,
        }
        for gate in sorted(gates, key=lambda gate: order.index(gate.verdict))
    ]
    table = markdown_table(rows, list(rows[0]), ("baseline", "candidate", "difference", "margin", "n"))
    differing = [
        f"Protocols differ ({', '.join(gate.protocols_differ)}): {title(gate)}."
        for gate in gates
        if gate.protocols_differ
    ]
    return "\n\n".join([f"### Softvote: {worst.upper()}", table.rstrip("\n"), *differing]) + "\n"


def _facts(gate: GateDocument) -> list[tuple[str, object]]:
    facts: list[tuple[str, object]] = [
        ("baseline", f"{gate.baseline} = {_shown(gate.baseline_value, gate.metric)}"),
        ("candidate", f"{gate.candidate} = {_shown(gate.candidate_value, gate.metric)}"),
        (
            f"difference, {100 * (1 - 2 * gate.alpha):g} % interval",
            _interval(gate),
        ),
        ("margin", _signed(gate.margin, gate.metric)),
        ("images", gate.n_used),
    ]
    if gate.only_base_wrong is not None:
        facts.append(
            (
                "only the baseline wrong, only the candidate wrong",
                f"{gate.only_base_wrong}, {gate.only_candidate_wrong}",
            )
        )
    return facts


def _interval(gate: GateDocument) -> str:
    low, high = _signed(gate.low, gate.metric), _signed(gate.high, gate.metric)
    return f"{_signed(gate.difference, gate.metric)} [{low}, {high}]"


def _shown(value: float, metric: str) -> str:
    return f"{value:.4f}" if metric == "nll" else f"{100 * value:.2f} %"


def _signed(value: float, metric: str) -> str:
    return f"{value:+.4f}" if metric == "nll" else f"{100 * value:+.2f}"
