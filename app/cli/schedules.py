"""`softvote schedule …`: evaluations that are made again and again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_fields, print_json, print_table
from app.errors import InvalidRequestError
from app.representations.schedules import Misfire, ScheduleRequest, Verify
from ensembles.errors import Problem

#: As people say them.
_METRICS = {"top1": "top1_error", "top5": "top5_error", "nll": "nll"}
_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.group()
def schedule() -> None:
    """Evaluate again and again, and learn what changed."""


@schedule.command("add")
@click.option("--name", required=True, help="Unique name.")
@click.option("--cron", help="Five fields: minute, hour, day of month, month, day of week.")
@click.option("--every", metavar="SPAN", help="An interval in place of --cron: 6h, 90m, 1d.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name of the zone that --cron is meant in.")
@click.option("--dataset", required=True, help="Id or name.")
@click.option("--checkpoint", "checkpoints", multiple=True, help="Id or name; may repeat.")
@click.option("--tag", help="In place of --checkpoint: whatever has this tag at each slot.")
@click.option("--ensemble", help="In place of --checkpoint: a saved ensemble.")
@click.option("--protocol", default=None, help="A preset's name, or a JSON file; vgg-multi-scale-dense unless given.")
@click.option("--limit", type=int, help="Only the first images of the canonical order.")
@click.option(
    "--verify",
    type=click.Choice(get_args(Verify)),
    default="sample",
    show_default=True,
    help="What is computed again where nothing changed, to see whether it moves.",
)
@click.option("--sample-images", type=int, default=256, show_default=True, help="Of --verify sample.")
@click.option("--tolerance", type=float, default=0.0, show_default=True, help="Difference of a posterior that is none.")
@click.option("--metric", type=click.Choice(list(_METRICS)), default="top1", show_default=True, help="Of the gate.")
@click.option("--margin", type=float, default=0.5, show_default=True, help="Of the gate: points of error, or nats.")
@click.option("--alpha", type=float, default=0.05, show_default=True, help="Of the gate.")
@click.option("--no-gate", is_flag=True, help="Judge no regressions.")
@click.option("--misfire", type=click.Choice(get_args(Misfire)), default="catch_up", show_default=True)
@click.option("--max-active", type=int, default=1, show_default=True, help="Runs at a time.")
@json_option
@named_errors
def schedule_add(as_json: bool, **options: Any) -> None:
    """Make a schedule; it fires at its first slot from now on."""
    document = backend().add_schedule(_request(options))
    print_json(document) if as_json else _print_schedule(document, [])


@schedule.command("ls")
@json_option
@named_errors
def schedule_ls(as_json: bool) -> None:
    """List the schedules."""
    documents = backend().schedules()
    if as_json:
        print_json(documents)
        return
    print_table(
        ["name", "when", "time zone", "next", "target", "last verdict"],
        [
            (d["name"], d["words"], d["timezone"], _next(d), _target(d["target"]), _verdict(d["last_run"]))
            for d in documents
        ],
    )


@schedule.command("show")
@click.argument("key")
@json_option
@named_errors
def schedule_show(key: str, as_json: bool) -> None:
    """Show one schedule: its next five fire times and its newest runs."""
    source = backend()
    document, runs = source.schedule(key), source.schedule_runs(key)
    print_json({**document, "runs": runs}) if as_json else _print_schedule(document, runs)


@schedule.command("pause")
@click.argument("key")
@json_option
@named_errors
def schedule_pause(key: str, as_json: bool) -> None:
    """Fire no more; runs under way go on."""
    document = backend().pause_schedule(key)
    print_json(document) if as_json else click.echo(f"{document['name']} is paused")


@schedule.command("resume")
@click.argument("key")
@json_option
@named_errors
def schedule_resume(key: str, as_json: bool) -> None:
    """Fire again from the next slot on."""
    document = backend().resume_schedule(key)
    print_json(document) if as_json else click.echo(f"{document['name']} fires next on {_next(document)}")


@schedule.command("run")
@click.argument("key")
@json_option
@named_errors
def schedule_run(key: str, as_json: bool) -> None:
    """Begin a run at once; a scheduler and a worker take it from there."""
    document = backend().run_schedule(key)
    print_json(document) if as_json else click.echo(f"run {document['id']} of {document['schedule_name']} begins")


@schedule.command("rm")
@click.argument("key")
@named_errors
def schedule_rm(key: str) -> None:
    """Forget a schedule and its runs; evaluations stay."""
    backend().remove_schedule(key)


def register(group: click.Group) -> None:
    """Add the commands."""
    group.add_command(schedule)


def _request(options: dict[str, Any]) -> ScheduleRequest:
    target: dict[str, Any] = {"dataset": options["dataset"]}
    target |= {name: options[name] for name in ("tag", "ensemble", "limit") if options[name] is not None}
    if options["checkpoints"]:
        target["checkpoints"] = list(options["checkpoints"])
    if options["protocol"] is not None:
        target["protocol"] = _protocol(options["protocol"])
    metric = _METRICS[options["metric"]]
    margin = options["margin"] if metric == "nll" else options["margin"] / 100
    same = ("name", "cron", "timezone", "verify", "sample_images", "tolerance", "misfire", "max_active")
    body: dict[str, Any] = {name: options[name] for name in same}
    body["every"] = None if options["every"] is None else _seconds(options["every"])
    body["gate"] = None if options["no_gate"] else {"metric": metric, "margin": margin, "alpha": options["alpha"]}
    return ScheduleRequest.model_validate({**body, "target": target})


def _seconds(span: str) -> int:
    number = span.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = span[len(number) :].strip() or "s"
    if not number.isascii() or not number.isdecimal() or unit not in _UNITS:
        raise InvalidRequestError([Problem("every", "a whole number with s, m, h, d or w, such as 6h", span)])
    return int(number) * _UNITS[unit]


def _protocol(value: str) -> str | dict[str, Any]:
    if not value.endswith(".json"):
        return value
    try:
        found = json.loads(Path(value).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{value}: {error}", param_hint="--protocol") from error
    if not isinstance(found, dict):
        raise click.BadParameter(f"{value}: a JSON object is needed", param_hint="--protocol")
    return found


def _target(target: dict[str, Any]) -> str:
    what = target.get("ensemble") or (f"tag {target['tag']}" if target.get("tag") else "")
    names = [one if isinstance(one, str) else one["checkpoint"] for one in target.get("checkpoints") or ()]
    return f"{what or ', '.join(names)} on {target['dataset']}"


def _next(document: dict[str, Any]) -> str:
    return str(document["next_fires"][0]["local"]) if document["next_fires"] else "paused"


def _verdict(run: dict[str, Any] | None) -> str:
    return "" if run is None else str(run["verdict"] or run["state"])


def _print_schedule(document: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    gate = document["gate"]
    print_fields(
        [
            ("name", document["name"]),
            ("when", document["words"]),
            ("time zone", document["timezone"]),
            ("target", _target(document["target"])),
            ("verify", document["verify"]),
            ("gate", gate and f"{gate['metric']}, margin {gate['margin']:g}, alpha {gate['alpha']:g}"),
            ("clocks", document["clock_change"]),
        ]
    )
    if document["paused"]:
        click.echo("paused: it fires no more until it is resumed")
    for fire in document["next_fires"]:
        click.echo(f"  {fire['local']}" + (f": {fire['note']}" if fire["note"] else ""))
    if runs:
        click.echo()
        rows = [(run["id"], run["slot"], _verdict(run), " ".join(run["findings"])) for run in runs]
        print_table(["run", "slot", "verdict", "findings"], rows)
