"""`softvote evaluate`, `status`, `results`, `ls`, `cancel`, `retry`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from app.cli import estimates
from app.cli.backends import Backend, LocalBackend, load_runner
from app.cli.context import backend
from app.cli.following import TERMINAL, read_protocol, wait_until_ended
from app.cli.output import (
    EXIT_FAILED,
    json_option,
    mover,
    named_errors,
    output_width,
    print_fields,
    print_json,
    print_table,
    progress_bar,
)
from app.representations.evaluations import ScoresDocument
from app.representations.requests import EvaluationRequest, FusionRequest
from app.representations.tabular import Cell, metric_text, score_table, to_csv, to_markdown
from ensembles.protocols import FUSION_RULES

#: Columns of a terminal in which the secondary metrics fit too.
_WIDE_ENOUGH = 130


@click.command()
@click.option("--dataset", required=True, help="Name or id of a registered data set.")
@click.option("--checkpoint", "checkpoints", multiple=True, help="Name of a registered checkpoint; may repeat.")
@click.option("--ensemble", help="Name of a saved ensemble, which says members, protocols and fusion.")
@click.option("--protocol", default="vgg-multi-scale-dense", show_default=True, help="A preset's name, or a JSON file.")
@click.option("--fusion", type=click.Choice(FUSION_RULES), default="mean", show_default=True, help="Fusion rule.")
@click.option("--temperature", type=float, help="Of the fused posteriors: above 1 less sure; changes no error.")
@click.option("--weight", "weights", type=float, multiple=True, help="One a checkpoint, in their order.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N images in canonical order, a fair sample.")
@click.option("--force", is_flag=True, help="Predict anew, whatever is known.")
@click.option("--priority", type=click.IntRange(0, 9), default=5, show_default=True)
@click.option(
    "--unreadable",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Policy for images that cannot be read.",
)
@click.option("--wait", is_flag=True, help="Wait for the end and print the results.")
@click.option("--local", is_flag=True, help="Run in this process, with no queue.")
@click.option("--estimate", "only_estimate", is_flag=True, help="Say what it would cost, and start nothing.")
@json_option
@named_errors
def evaluate(
    dataset: str,
    checkpoints: tuple[str, ...],
    ensemble: str | None,
    protocol: str,
    fusion: str,
    temperature: float | None,
    weights: tuple[float, ...],
    limit: int | None,
    force: bool,
    priority: int,
    unreadable: Any,
    wait: bool,
    local: bool,
    only_estimate: bool,
    as_json: bool,
) -> None:
    """Evaluate checkpoints on a data set, and fuse them."""
    if (ensemble is None) == (not checkpoints):
        raise click.UsageError("either --checkpoint or --ensemble is needed")
    members: dict[str, Any] = {
        "checkpoints": list(checkpoints),
        "protocol": read_protocol(protocol),
        "fusion": FusionRequest(rule=fusion, weights=list(weights) or None, temperature=temperature),
    }
    if ensemble is not None:
        _refuse_said_twice("protocol", "fusion", "weights", "temperature")
        members = {"ensemble": ensemble}
    request = EvaluationRequest(
        dataset=dataset,
        **members,
        limit=limit,
        force=force,
        priority=priority,
        unreadable=unreadable,
    )
    source = backend()
    if only_estimate:
        estimates.show(source.estimate(request), as_json)
        return
    if local and not isinstance(source, LocalBackend):
        raise click.UsageError("--local runs on the local database; unset SOFTVOTE_URL")
    evaluation = source.submit(request)
    if isinstance(source, LocalBackend) and local:
        with progress_bar(as_json, "image-views") as bar:
            load_runner().run_until_done(source.runtime, evaluation["id"], mover(bar))
    elif wait:
        wait_until_ended(source, evaluation["id"], as_json)
    evaluation = source.evaluation(evaluation["id"])
    if not (wait or local):
        _show(evaluation, as_json)
        return
    _finish(source, evaluation, as_json)


@click.command()
@click.argument("evaluation_id", metavar="ID")
@click.option("--parts", "with_parts", is_flag=True, help="Also the parts that are not done: who has them since when.")
@json_option
@named_errors
def status(evaluation_id: str, with_parts: bool, as_json: bool) -> None:
    """Show how one evaluation is doing, and why it waits."""
    evaluation = backend().evaluation(evaluation_id)
    if not with_parts:
        _show(evaluation, as_json)
        return
    parts = backend().open_parts(evaluation_id)
    if as_json:
        print_json({**evaluation, "parts": parts})
        return
    _print_status(evaluation)
    _print_parts(parts)


@click.command()
@click.argument("evaluation_id", metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json", "parquet", "markdown"]),
    default="table",
    show_default=True,
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead of the terminal."
)
@named_errors
def results(evaluation_id: str, form: str, output: Path | None) -> None:
    """Print the scores of one evaluation; errors are fractions except in the table and in Markdown."""
    scores = backend().scores(evaluation_id)
    rows = score_table(ScoresDocument.model_validate(scores).items)
    if form == "parquet":
        if output is None:
            raise click.UsageError("--format parquet needs --output FILE")
        _write_parquet(rows, output)
        return
    text = (
        {"csv": to_csv, "markdown": to_markdown}[form](rows)
        if form in ("csv", "markdown")
        else json.dumps(scores, indent=2) + "\n"
    )
    if form == "table" and output is None:
        _print_scores(rows)
    elif output is not None:
        output.write_text(to_markdown(rows) if form == "table" else text, encoding="utf-8", newline="")
    else:
        click.echo(text, nl=False)


@click.command("ls")
@click.option("--limit", type=click.IntRange(1, 200), default=20, show_default=True)
@click.option("--status", "wanted", type=click.Choice(["queued", "predicting", "fusing", *TERMINAL]))
@json_option
@named_errors
def ls(limit: int, wanted: str | None, as_json: bool) -> None:
    """List the newest evaluations."""
    documents = backend().evaluations(limit, wanted)
    if as_json:
        print_json(documents)
        return
    print_table(
        ["id", "status", "data set", "checkpoints", "protocol", "top-1", "top-5", "created"],
        [
            (
                d["id"],
                d["status"],
                d["dataset"],
                ", ".join(d["checkpoints"]),
                d["protocol_title"],
                _percent(d["top1_error"]),
                _percent(d["top5_error"]),
                d["created_at"][:19].replace("T", " "),
            )
            for d in documents
        ],
        right=("top-1", "top-5"),
    )


@click.command()
@click.argument("evaluation_id", metavar="[ID]", required=False)
@click.option("--all", "everything", is_flag=True, help="Every evaluation that has not ended.")
@json_option
@named_errors
def cancel(evaluation_id: str | None, everything: bool, as_json: bool) -> None:
    """Cancel one evaluation, or all; what others want too goes on."""
    if (evaluation_id is None) != everything:
        raise click.UsageError("name one evaluation, or say --all")
    if evaluation_id is not None:
        _show(backend().act(evaluation_id, "cancel"), as_json)
        return
    answer = backend().cancel_all()
    print_json(answer) if as_json else click.echo(f"{answer['cancelled']:,} cancelled")


@click.command()
@click.argument("evaluation_id", metavar="ID")
@json_option
@named_errors
def retry(evaluation_id: str, as_json: bool) -> None:
    """Take up a failed or cancelled evaluation again; what is done stays done."""
    _show(backend().act(evaluation_id, "retry"), as_json)


def register(group: click.Group) -> None:
    """Add these commands."""
    for command in (evaluate, status, results, ls, cancel, retry):
        group.add_command(command)


def _refuse_said_twice(*names: str) -> None:
    """A saved ensemble says these itself."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"--ensemble says this itself: {', '.join(given)}")


def _finish(source: Backend, evaluation: dict[str, Any], as_json: bool) -> None:
    if evaluation["status"] != "succeeded":
        _show(evaluation, as_json)
        sys.exit(EXIT_FAILED)
    scores = source.scores(evaluation["id"])
    if as_json:
        print_json({**evaluation, "scores": scores["items"]})
    else:
        _print_scores(score_table(ScoresDocument.model_validate(scores).items))
        click.echo(f"\nevaluation {evaluation['id']}")


def _print_scores(rows: list[dict[str, Cell]]) -> None:
    heads = {"top1_error": "top-1 error [95 %]", "top5_error": "top-5 error [95 %]", "nll": "NLL"}
    if output_width() >= _WIDE_ENOUGH:
        heads |= {"ece": "ECE", "brier": "Brier"}
    metrics = [metric for metric in heads if any(metric in row for row in rows)]
    print_table(
        ["subject", "Q", "mode", *(heads[m] for m in metrics), "n"],
        [(row["name"], row["scales"], row["mode"], *(metric_text(row, m) for m in metrics), row["n"]) for row in rows],
        right=(*heads.values(), "n"),
    )
    unreadable = max((int(row["n_unreadable"] or 0) for row in rows), default=0)
    if unreadable:
        click.echo(f"{unreadable} unreadable image{'s' if unreadable != 1 else ''} left out")


def _show(evaluation: dict[str, Any], as_json: bool) -> None:
    print_json(evaluation) if as_json else _print_status(evaluation)


def _print_status(evaluation: dict[str, Any]) -> None:
    progress, error = evaluation["progress"], evaluation["error"]
    rate = f", {progress['images_per_second']:.1f} images/s" if progress["images_per_second"] else ""
    eta = f", about {progress['eta_seconds']:.0f} s left" if progress["eta_seconds"] else ""
    print_fields(
        [
            ("evaluation", evaluation["id"]),
            ("status", evaluation["status"] + (f" [{error['code']}]: {error['message']}" if error else "")),
            ("waiting for", evaluation["waiting_for"]),
            ("progress", f"{progress['done']:,} of {progress['total']:,} image-views{rate}{eta}"),
            ("data set", f"{evaluation['dataset']} ({evaluation['images']:,} images)"),
            ("protocol", evaluation["protocol_title"]),
            ("checkpoints", ", ".join(map(_member, evaluation["checkpoints"]))),
        ]
    )


def _print_parts(parts: list[dict[str, Any]]) -> None:
    if not parts:
        click.echo("\nno part is open")
        return
    click.echo()
    print_table(
        ["checkpoint", "mode", "Q", "images", "state", "worker", "seen", "attempts", "lost", "waiting for"],
        [
            (
                part["checkpoint"],
                part["mode"],
                part["scale"],
                f"{part['start']}-{part['stop'] - 1}",
                part["state"],
                part["worker"]["name"] if part["worker"] else "",
                part["worker"]["last_seen"] if part["worker"] else "",
                part["attempts"],
                part["lost_leases"],
                part["error"]["message"] if part["state"] == "failed" and part["error"] else part["waiting_for"] or "",
            )
            for part in parts
        ],
        right=("Q", "attempts", "lost"),
    )


def _member(member: dict[str, Any]) -> str:
    mapping = member["class_mapping"]
    matched = f"; classes matched by {mapping['by']}" if mapping else ""
    return f"{member['checkpoint']} (Q {' '.join(map(str, member['scales']))}{matched})"


def _write_parquet(rows: list[dict[str, Cell]], output: Path) -> None:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise click.UsageError("--format parquet needs the extra: pip install 'softvote[parquet]'") from error
    pq.write_table(pa.Table.from_pylist(rows), output)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.2f} %"
