"""`softvote gate` and `softvote baseline`: verdicts for CI, by exit status."""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from app.cli.backends import Backend
from app.cli.context import backend
from app.cli.following import read_protocol, wait_until_ended
from app.cli.output import EXIT_FAILED, EXIT_INFRASTRUCTURE, json_option, named_errors, print_json, print_table
from app.representations.gates import (
    SHORT_METRICS,
    BaselineRequest,
    GateDocument,
    GateRequest,
    title,
    to_junit,
    to_markdown,
)
from app.representations.requests import EvaluationRequest

EXIT_INCONCLUSIVE = 3

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE_TO_READ = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE_TO_WRITE = click.Path(dir_okay=False, path_type=Path)

#: Keys of a gate in a policy file.
_POLICY_KEYS = {"baseline", "candidate", "metric", "margin", "alpha", "classes"}


def _option(*names: str, **attributes: Any) -> Callable[[_Command], _Command]:
    """An option that SOFTVOTE_GATE_NAME may fill in, so that a CI job only has to set variables."""
    variable = f"SOFTVOTE_GATE_{names[0].removeprefix('--').replace('-', '_').upper()}"
    return click.option(*names, envvar=variable, **attributes)


@click.command()
@_option("--baseline", metavar="REF", help="ID, ID:NAME, or a baseline's name.")
@_option("--candidate", metavar="REF", help="ID, ID:NAME, or a baseline's name.")
@_option("--metric", type=click.Choice(list(SHORT_METRICS)), default="top1", show_default=True)
@_option(
    "--margin",
    type=float,
    default=0.5,
    show_default=True,
    help="How much worse the candidate may be: points of error, or nats for nll.",
)
@_option("--alpha", type=float, default=0.05, show_default=True, help="Chance of a wrong pass, and of a wrong fail.")
@_option("--class", "classes", multiple=True, metavar="NAME", help="Only images of this class; may repeat.")
@_option("--policy", type=_FILE_TO_READ, help="A softvote.toml with several gates; options fill in what it leaves out.")
@_option("--dataset", metavar="NAME", help="Evaluate the candidate first, on this data set, and wait.")
@_option("--checkpoint", "checkpoints", multiple=True, metavar="NAME", help="What to evaluate then; may repeat.")
@_option("--protocol", default="vgg-multi-scale-dense", show_default=True, help="A preset's name, or a JSON file.")
@_option("--limit", type=click.IntRange(min=1), help="Evaluate only the first N images, a fair sample.")
@_option("--timeout", type=float, metavar="SECONDS", help="How long the evaluation may take.")
@_option("--junit", type=_FILE_TO_WRITE, help="Also write JUnit XML here.")
@_option("--markdown", type=_FILE_TO_WRITE, help="Also write Markdown here.")
@_option("--dotenv", type=_FILE_TO_WRITE, help="Also write SOFTVOTE_VERDICT, _GATES and _CANDIDATE here.")
@_option("--allow-inconclusive", is_flag=True, help="Exit 0 where the images do not tell.")
@json_option
@named_errors
def gate(
    baseline: str | None,
    candidate: str | None,
    metric: str,
    margin: float,
    alpha: float,
    classes: tuple[str, ...],
    policy: Path | None,
    dataset: str | None,
    checkpoints: tuple[str, ...],
    protocol: str,
    limit: int | None,
    timeout: float | None,
    junit: Path | None,
    markdown: Path | None,
    dotenv: Path | None,
    allow_inconclusive: bool,
    as_json: bool,
) -> None:
    """Judge a candidate against a baseline: exit 0 pass, 1 fail, 3 inconclusive, 2 usage, 4 infrastructure.

    The candidate is named, or evaluated first (--dataset, --checkpoint). Every option may come from the environment:
    SOFTVOTE_GATE_BASELINE and so on. With GITHUB_STEP_SUMMARY or GITHUB_OUTPUT there, as in a GitHub workflow, the
    table and the verdict are written to those files too.
    """
    if policy is None:
        asked = [{"metric": metric, "margin": margin, "alpha": alpha, "classes": list(classes) or None}]
    else:
        asked = _read_policy(policy)
    if bool(dataset) != bool(checkpoints) or (dataset and candidate):
        raise click.UsageError("either --candidate, or --dataset and --checkpoint")
    source = backend()
    if dataset:
        # What is wrong with a gate is said before anything is computed for it.
        for one in asked:
            _request({"baseline": baseline, "candidate": "evaluated first", **one})
        wanted = EvaluationRequest(
            dataset=dataset, checkpoints=list(checkpoints), protocol=read_protocol(protocol), limit=limit
        )
        candidate = _evaluated(source, wanted, timeout, as_json)
    requests = [_request({"baseline": baseline, "candidate": candidate, **one}) for one in asked]
    documents = [GateDocument.model_validate(source.judge(request)) for request in requests]
    if junit is not None:
        junit.write_text(to_junit(documents), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(to_markdown(documents), encoding="utf-8")
    _tell_ci(documents, dotenv)
    if as_json:
        found = [document.model_dump(mode="json") for document in documents]
        print_json(found[0] if policy is None else {"items": found})
    else:
        for document in documents:
            click.echo(f"{document.verdict.upper()}: {title(document)}\n  {document.reason}")
    sys.exit(
        {"fail": EXIT_FAILED, "inconclusive": 0 if allow_inconclusive else EXIT_INCONCLUSIVE}.get(_worst(documents), 0)
    )


@click.group()
def baseline() -> None:
    """Names for what others are judged against."""


@baseline.command("promote")
@click.argument("name")
@click.argument("reference", metavar="REF")
@click.option("--note", default="")
@named_errors
def promote(name: str, reference: str, note: str) -> None:
    """Let NAME stand for an evaluation (ID) or one of its members (ID:NAME) from now on."""
    backend().promote(name, BaselineRequest(reference=reference, note=note))
    click.echo(f"{name} is {reference}")


@baseline.command("ls")
@json_option
@named_errors
def list_baselines(as_json: bool) -> None:
    """List baselines."""
    found = backend().baselines()
    if as_json:
        print_json(found)
        return
    columns = ["name", "reference", "promoted_at", "note"]
    print_table(columns, [[one[column] for column in columns] for one in found])


@baseline.command("rm")
@click.argument("name")
@named_errors
def forget(name: str) -> None:
    """Remove a baseline's name; evaluations and verdicts stay."""
    backend().forget_baseline(name)


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(gate)
    group.add_command(baseline)


def _read_policy(path: Path) -> list[dict[str, Any]]:
    """The `[[gates]]` of a policy file; a margin is in points there too."""
    try:
        policy = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--policy") from error
    gates = policy.get("gates")
    if not isinstance(gates, list) or not gates or not all(isinstance(one, dict) for one in gates):
        raise click.BadParameter(f"{path}: one or more tables [[gates]] are needed", param_hint="--policy")
    for number, one in enumerate(gates, start=1):
        unknown = sorted(set(one) - _POLICY_KEYS)
        if unknown:
            known = ", ".join(sorted(_POLICY_KEYS))
            raise click.BadParameter(f"{path}: gate {number}: {unknown[0]!r} is none of {known}", param_hint="--policy")
    return gates


def _request(asked: dict[str, Any]) -> GateRequest:
    """In the words of REST: metrics by their full names, margins of errors as fractions."""
    metric = SHORT_METRICS.get(asked.get("metric", "top1"), asked.get("metric"))
    margin = asked.get("margin", 0.5)
    for side in ("baseline", "candidate"):
        if not asked.get(side):
            raise click.UsageError(f"--{side} is needed")
    try:
        return GateRequest.model_validate(
            {
                "baseline": asked["baseline"],
                "candidate": asked["candidate"],
                "metric": metric,
                "margin": margin / 100 if metric != "nll" and isinstance(margin, int | float) else margin,
                "alpha": asked.get("alpha", 0.05),
                "classes": asked.get("classes"),
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise click.UsageError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}; got {first['input']!r}") from error


def _evaluated(source: Backend, request: EvaluationRequest, timeout: float | None, as_json: bool) -> str:
    """The id of an evaluation that has succeeded; without one nothing can be judged, and the command ends."""
    evaluation = source.submit(request)
    if not as_json:
        click.echo(f"evaluation {evaluation['id']}")
    evaluation = wait_until_ended(source, evaluation["id"], as_json, timeout)
    if evaluation["status"] != "succeeded":
        error = evaluation["error"]
        why = f" [{error['code']}]: {error['message']}" if error else ""
        click.echo(f"evaluation {evaluation['id']} {evaluation['status']}{why}; nothing was judged", err=True)
        sys.exit(EXIT_INFRASTRUCTURE)
    return str(evaluation["id"])


def _worst(documents: list[GateDocument]) -> str:
    order = ("fail", "inconclusive", "pass")
    return min((document.verdict for document in documents), key=order.index)


def _tell_ci(documents: list[GateDocument], dotenv: Path | None) -> None:
    """What a workflow shows on its page, and hands on to later steps."""
    facts = {
        "verdict": _worst(documents),
        "gates": ",".join(document.id for document in documents),
        "candidate": documents[0].candidate_reference,
    }
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(to_markdown(documents))
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.writelines(f"{name}={value}\n" for name, value in facts.items())
    if dotenv is not None:
        dotenv.write_text(
            "".join(f"SOFTVOTE_{name.upper()}={value}\n" for name, value in facts.items()), encoding="utf-8"
        )
