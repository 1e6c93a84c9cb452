"""`softvote paper`: the paper's tables with your rows beside the printed ones."""

from __future__ import annotations

from typing import Any

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_json, print_table

METHODS = {"dense": "dense", "crops": "multi-crop", "both": "multi-crop & dense", None: ""}


@click.command()
@click.argument("evaluation_ids", metavar="ID...", nargs=-1, required=True)
@click.option("--table", type=click.Choice(["3", "4", "5", "6", "7"]), help="One table alone.")
@click.option("--only-measured", is_flag=True, help="Leave out the printed rows that nothing was measured for.")
@json_option
@named_errors
def paper(evaluation_ids: tuple[str, ...], table: str | None, only_measured: bool, as_json: bool) -> None:
    """Print tables 3-7 of the VGG paper with the rows of one or more evaluations beside the printed ones."""
    document = backend().paper(evaluation_ids)
    if as_json:
        print_json(document)
        return
    for each in document["tables"]:
        rows = [row for row in each["rows"] if row["measured"] or not only_measured]
        if rows and table in (None, str(each["number"])):
            _print_table(each, rows)
    _print_remarks(document)


def register(group: click.Group) -> None:
    """Add this command."""
    group.add_command(paper)


def _print_table(table: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    printed = any(row["printed"] for row in rows)
    columns = ["network", "S", "Q", "method"]
    numbers = (
        (["paper top-1", "paper top-5"] if printed else [])
        + ["top-1 %", "top-5 %"]
        + (["top-1 is", "top-5 is"] if printed else [])
    )
    click.echo()
    print_table(
        [*columns, *numbers],
        [_cells(row, printed=printed) for row in rows],
        right=("paper top-1", "paper top-5", "top-1 %", "top-5 %"),
        title=f"Table {table['number']}: {table['title']}",
    )


def _cells(row: dict[str, Any], *, printed: bool) -> list[str]:
    members = row["members"]
    label = row["measured"]["name"] if row["measured"] else row["printed"]["label"]
    scales = {_scale(member["training_scale"]) for member in members}
    tests = {",".join(map(str, member["scales"])) for member in members}
    cells = [label, " ".join(sorted(scales)), " ".join(sorted(tests)), METHODS[row["method"]]]
    if printed:
        cells += [_printed(row, "top1_val"), _printed(row, "top5_val")]
    cells += [_measured(row, "top1_error"), _measured(row, "top5_error")]
    return cells + ([row["top1_verdict"] or "", row["top5_verdict"] or ""] if printed else [])


def _print_remarks(document: dict[str, Any]) -> None:
    rows = [row for table in document["tables"] for row in table["rows"]]
    if not document["comparable"]:
        click.echo("\nNot set beside the printed numbers: those are full-width networks on ImageNet's 1,000 classes.")
    apart = {row["measured"]["name"]: row["measured"]["departures"] for row in rows if row["measured"]}
    # Rows of one evaluation mostly depart from the paper alike: each reason is said once.
    alike: dict[str, list[str]] = {}
    for name, departures in apart.items():
        if departures:
            alike.setdefault("; ".join(departures), []).append(name)
    for reasons, names in alike.items():
        click.echo(f"  {'every row' if names == list(apart) else ', '.join(names)}: {reasons}")
    if document["left_out"]:
        click.echo("\nIn no table:")
        for left_out in document["left_out"]:
            click.echo(f"  {left_out['name']}: {left_out['reason']}")
    if any(verdict not in (None, "equal") for row in rows for verdict in (row["top1_verdict"], row["top5_verdict"])):
        click.echo("\nA cell that is not equal may come from:")
        for choice in document["choices"]:
            if choice["agrees"] is not True:
                here = ", ".join(choice["values"])
                click.echo(f"  {choice['name']}: {here} here; authors: {choice['authors']}; {choice['fact']}")


def _scale(scale: list[int]) -> str:
    return str(scale[0]) if scale[0] == scale[1] else f"[{scale[0]};{scale[1]}]"


def _printed(row: dict[str, Any], cell: str) -> str:
    value = row["printed"] and row["printed"][cell]
    return "" if value is None else f"{value:.1f}"


def _measured(row: dict[str, Any], cell: str) -> str:
    return f"{row['measured'][cell] * 100:.1f}" if row["measured"] else ""
