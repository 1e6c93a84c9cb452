"""`softvote compare`: which is better on the same images, and whether that is real."""

from __future__ import annotations

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_json, print_table
from app.representations.comparisons import (
    COMPARED_METRICS,
    ERROR_METRICS,
    NUMBER_COLUMNS,
    ComparedMetric,
    ComparisonDocument,
    comparison_columns,
    comparison_rows,
    readable_rows,
)
from app.representations.tabular import csv_table, markdown_table


@click.command()
@click.argument("base", metavar="BASE")
@click.argument("candidates", metavar="CANDIDATE...", nargs=-1, required=True)
@click.option(
    "--metric",
    "metrics",
    type=click.Choice(COMPARED_METRICS),
    multiple=True,
    default=ERROR_METRICS,
    show_default=True,
    help="May repeat; nll, brier and ece by a paired bootstrap.",
)
@click.option("--format", "form", type=click.Choice(["table", "csv", "markdown"]), default="table", show_default=True)
@json_option
@named_errors
def compare(
    base: str, candidates: tuple[str, ...], metrics: tuple[ComparedMetric, ...], form: str, as_json: bool
) -> None:
    """Compare each CANDIDATE with BASE by paired tests on the images that all of them scored.

    A side is an evaluation's ID, which stands for its ensemble or its only checkpoint, or ID:NAME for one checkpoint.
    """
    document = ComparisonDocument.model_validate(backend().compare(base, candidates, metrics))
    if as_json:
        print_json(document.model_dump(mode="json"))
    elif form == "csv":
        click.echo(csv_table(comparison_rows(document), comparison_columns()), nl=False)
    else:
        rows = readable_rows(document)
        columns = list(rows[0])
        if form == "markdown":
            click.echo(markdown_table(rows, columns, NUMBER_COLUMNS), nl=False)
        else:
            print_table(columns, [[row[column] for column in columns] for row in rows], right=NUMBER_COLUMNS)
            _print_remarks(document)


def register(group: click.Group) -> None:
    """Add this command."""
    group.add_command(compare)


def _print_remarks(document: ComparisonDocument) -> None:
    left_out = max(subject.left_out for subject in document.subjects)
    if left_out:
        click.echo(f"\nOnly shared images count: up to {left_out:,} of a side's are left out.")
    for pair in document.pairs[:: len(document.metrics)]:
        if pair.protocols_differ:
            click.echo(f"\nProtocols differ for {pair.candidate}: {', '.join(pair.protocols_differ)}.")
