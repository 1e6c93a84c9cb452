"""`softvote gate` and `softvote baseline`: verdicts for CI, by exit status."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from app.cli.context import backend
from app.cli.output import EXIT_FAILED, json_option, named_errors, print_json, print_table
from app.representations.gates import (
    SHORT_METRICS,
    BaselineRequest,
    GateDocument,
    GateRequest,
    title,
    to_junit,
    to_markdown,
)

EXIT_INCONCLUSIVE = 3

#: Keys of a gate in a policy file.
_POLICY_KEYS = {"baseline", "candidate", "metric", "margin", "alpha", "classes"}


@click.command()
@click.option("--baseline", metavar="REF", help="ID, ID:NAME, or a baseline's name.")
@click.option("--candidate", metavar="REF", help="ID, ID:NAME, or a baseline's name.")
@click.option("--metric", type=click.Choice(list(SHORT_METRICS)), default="top1", show_default=True)
@click.option(
    "--margin",
    type=float,
    default=0.5,
    show_default=True,
    help="How much worse the candidate may be: points of error, or nats for nll.",
)
@click.option(
    "--alpha", type=float, default=0.05, show_default=True, help="Chance of a wrong pass, and of a wrong fail."
)
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Only images of this class; may repeat.")
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A softvote.toml with several gates; --baseline and --candidate fill in what it leaves out.",
)
@click.option("--junit", type=click.Path(dir_okay=False, path_type=Path), help="Also write JUnit XML here.")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Also write Markdown here.")
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
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
) -> None:
    """Judge a candidate against a baseline: exit 0 pass, 1 fail, 3 inconclusive, 2 usage, 4 infrastructure.

    With GITHUB_STEP_SUMMARY or GITHUB_OUTPUT in the environment, as in a GitHub workflow, the table and the verdict are
    written there too.
    """
    if policy is None:
        asked = [
            {
                "metric": metric,
                "margin": margin,
                "alpha": alpha,
                "classes": list(classes) or None,
            }
        ]
    else:
        asked = _read_policy(policy)
    requests = [_request({"baseline": baseline, "candidate": candidate, **one}) for one in asked]
    source = backend()
    documents = [GateDocument.model_validate(source.judge(request)) for request in requests]
    if junit is not None:
        junit.write_text(to_junit(documents), encoding="utf-8")
    if markdown is not None:
        markdown.write_text(to_markdown(documents), encoding="utf-8")
    _tell_github(documents)
    if as_json:
        found = [document.model_dump(mode="json") for document in documents]
        print_json(found[0] if policy is None else {"items": found})
    else:
        for document in documents:
            click.echo(f"{document.verdict.upper()}: {title(document)}\n  {document.reason}")
    verdicts = {document.verdict for document in documents}
    sys.exit(EXIT_FAILED if "fail" in verdicts else EXIT_INCONCLUSIVE if "inconclusive" in verdicts else 0)


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


def _tell_github(documents: list[GateDocument]) -> None:
    """What a workflow shows on its page, and hands on to later steps."""
    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(to_markdown(documents))
    if outputs := os.environ.get("GITHUB_OUTPUT"):
        order = ("fail", "inconclusive", "pass")
        worst = min((document.verdict for document in documents), key=order.index)
        with Path(outputs).open("a", encoding="utf-8") as file:
            file.write(f"verdict={worst}\ngates={','.join(document.id for document in documents)}\n")
