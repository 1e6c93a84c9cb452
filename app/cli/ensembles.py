"""`softvote ensemble`: search, save, list, show and forget ensembles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import click
from pydantic import ValidationError

from app.cli.backends import Json
from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_json, print_table
from app.representations.ensembles import (
    EnsembleMemberRequest,
    EnsembleRequest,
    GuardName,
    MethodName,
    MetricName,
    OverName,
    SavedSearchRequest,
    SearchRequest,
)
from ensembles.protocols import FUSION_RULES

_CHOICES = {name: list(get_args(kind)) for name, kind in (("method", MethodName), ("guard", GuardName))}


def register(main: click.Group) -> None:
    """Add the group to the command line."""
    main.add_command(ensemble)


@click.group()
def ensemble() -> None:
    """Search, save and show ensembles."""


@ensemble.command()
@click.argument("evaluation_id", metavar="ID")
@click.option("--method", type=click.Choice(_CHOICES["method"]), default="exhaustive", show_default=True)
@click.option(
    "--guard",
    type=click.Choice(_CHOICES["guard"]),
    default="split",
    show_default=True,
    help="Choose on one half and report on the other; by cross-fitting; or on the same images.",
)
@click.option(
    "--over",
    type=click.Choice(list(get_args(OverName))),
    default="checkpoints",
    show_default=True,
    help="What is fused.",
)
@click.option(
    "--metric",
    type=click.Choice(list(get_args(MetricName))),
    default="top1_error",
    show_default=True,
    help="What is made small.",
)
@click.option("--rule", type=click.Choice(["mean", "geometric"]), default="mean", show_default=True)
@click.option("--cost", type=click.Choice(["gmacs", "seconds"]), default="gmacs", show_default=True)
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    default=0.2,
    show_default=True,
    help="Margin of the cheapest that is good enough: points of error, or nats for nll.",
)
@click.option("--save", "name", metavar="NAME", help="Save the chosen ensemble under this name.")
@json_option
@named_errors
def search(evaluation_id: str, name: str | None, as_json: bool, **fields: Any) -> None:
    """Search an ensemble among the posteriors of a finished evaluation."""
    if fields["metric"] != "nll":
        fields["within"] /= 100
    request = SearchRequest(**fields)
    source = backend()
    found = source.search(evaluation_id, request)
    saved = None
    if name is not None:
        asked = SavedSearchRequest(evaluation=evaluation_id, **request.model_dump())
        saved = source.save_ensemble(EnsembleRequest(name=name, search=asked))
    if as_json:
        print_json(found if saved is None else {**found, "saved": saved})
        return
    _show_search(found)
    if saved is not None:
        click.echo(f"saved as {saved['name']} ({saved['id']})")


@ensemble.command()
@click.argument("name")
@click.option("--checkpoint", "checkpoints", multiple=True, help="Name of a registered checkpoint; may repeat.")
@click.option("--weight", "weights", type=float, multiple=True, help="One a checkpoint, in their order.")
@click.option("--protocol", default="vgg-multi-scale-dense", show_default=True, help="A preset's name.")
@click.option("--rule", type=click.Choice(FUSION_RULES), default="mean", show_default=True)
@click.option("--temperature", type=float, help="Of the fused posteriors.")
@click.option("--chosen-on", metavar="ID", help="The evaluation whose images the members were chosen on, if any.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A JSON request instead, for members that differ: all its fields but the name.",
)
@click.option("--notes", default="")
@json_option
@named_errors
def save(
    name: str,
    checkpoints: tuple[str, ...],
    weights: tuple[float, ...],
    protocol: str,
    file: Path | None,
    as_json: bool,
    **fields: Any,
) -> None:
    """Save an ensemble of checkpoints, or the one that a JSON file describes."""
    if (file is None) == (not checkpoints):
        raise click.UsageError("either --checkpoint or --file is needed")
    if weights and len(weights) != len(checkpoints):
        raise click.UsageError(f"--weight: one for each of the {len(checkpoints)} checkpoints")
    if file is not None:
        request = _read(name, file)
    else:
        members = [
            EnsembleMemberRequest(checkpoint=checkpoint, weight=weight)
            for checkpoint, weight in zip(checkpoints, weights or (1.0,) * len(checkpoints), strict=True)
        ]
        request = EnsembleRequest(name=name, members=members, protocol=protocol, **fields)
    _show(backend().save_ensemble(request), as_json)


@ensemble.command("ls")
@json_option
@named_errors
def list_ensembles(as_json: bool) -> None:
    """List saved ensembles."""
    rows = backend().ensembles()
    if as_json:
        print_json(rows)
        return
    columns = ("name", "rule", "members", "chosen")
    print_table(columns, [(row["name"], row["rule"], len(row["members"]), _chosen(row["chosen"])) for row in rows])


@ensemble.command()
@click.argument("key", metavar="NAME")
@json_option
@named_errors
def show(key: str, as_json: bool) -> None:
    """Show one ensemble."""
    _show(backend().ensemble(key), as_json)


@ensemble.command("rm")
@click.argument("key", metavar="NAME")
@named_errors
def remove(key: str) -> None:
    """Forget an ensemble; evaluations of it stay."""
    backend().forget_ensemble(key)


def _read(name: str, file: Path) -> EnsembleRequest:
    try:
        return EnsembleRequest.model_validate({**json.loads(file.read_text(encoding="utf-8")), "name": name})
    except (ValueError, TypeError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        where = "" if first is None else f"{'.'.join(map(str, first['loc']))}: "
        raise click.UsageError(f"--file: {where}{error if first is None else first['msg']}") from error


def _show(document: Json, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    heat = "" if document["temperature"] is None else f" at temperature {document['temperature']:g}"
    click.echo(f"{document['name']}  {document['id']}  {document['rule']}{heat}; {_chosen(document['chosen'])}")
    _print_members(document["members"])


def _show_search(found: Json) -> None:
    click.echo(
        f"{found['candidates_tried']:,} candidates tried over {found['over']}; {found['n_select']:,} images chose, "
        f"{found['n_report']:,} report"
    )
    rows = [("chosen", found["best"][0]), *((f"next {i}", one) for i, one in enumerate(found["best"][1:4], 2))]
    rows += [("cheapest within", found["cheapest"])]
    rows += [("its own fusion", one) for one in found["fixed"]]
    columns = ("", "top-1", "95 %", "top-5", "chosen by", "GMAC", "s/image", "members")
    print_table(columns, [_fusion_row(title, one) for title, one in rows], right=columns[1:7])
    if found["procedure"] is not None:
        procedure = found["procedure"]
        click.echo(f"choosing in this way errs on {_percent(procedure['top1_error'])} % of images that did not choose")
    if found["optimism"] is not None:
        click.echo(
            f"optimism: {100 * found['optimism']:+.2f} points between the images that report and those that chose"
        )
    if found["selection_biased"]:
        click.echo("selection-biased: the errors of chosen ensembles are of images that chose them")
    for one in found["leave_one_out"]:
        click.echo(f"without {_member(one['without'])}: {100 * one['difference']:+.2f} points of top-1 error")


def _fusion_row(title: str, one: Json) -> tuple[str, ...]:
    return (
        title,
        _percent(one["top1_error"]) + ("*" if one["selection_biased"] else ""),
        f"{_percent(one['low'])}-{_percent(one['high'])}",
        _percent(one["top5_error"]),
        f"{one['selected_by']:.4f}",
        f"{one['gmacs']:.2f}",
        "" if one["seconds"] is None else f"{one['seconds']:.3g}",
        " + ".join(_member(member) for member in one["members"]),
    )


def _print_members(members: list[Json]) -> None:
    columns = ("checkpoint", "mode", "scales", "weight")
    rows = [(m["checkpoint"], m["mode"], " ".join(map(str, m["scales"])), f"{m['weight']:g}") for m in members]
    print_table(columns, rows, right=("weight",))


def _member(member: Json) -> str:
    weight = "" if member["weight"] == 1 else f"{member['weight']:g} x "
    return f"{weight}{member['checkpoint']} {member['mode']} {'/'.join(map(str, member['scales']))}"


def _chosen(chosen: Json | None) -> str:
    if chosen is None:
        return "fixed beforehand"
    tried = "" if chosen["candidates_tried"] is None else f" among {chosen['candidates_tried']:,}"
    return f"chosen by {chosen['method']}{tried} on {chosen['dataset']}"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2f}"
