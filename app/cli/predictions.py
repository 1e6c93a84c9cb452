"""`softvote predictions …`: posteriors out, and posteriors of any other framework in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_fields, print_json
from app.representations.predictions import PredictionsRequest

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def predictions() -> None:
    """Take posteriors out, and bring those of other frameworks in."""


@predictions.command("import")
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--name", help="Unique name; by default the file's.")
@click.option("--dataset", required=True, help="The data set whose images they are of.")
@click.option("--probs", "kind", flag_value="probs", default=None, help="The values are posteriors: rows sum to 1.")
@click.option("--logits", "kind", flag_value="logits", help="The values are logits: their softmax is taken.")
@click.option("--ids", type=_FILE, help="With .npy: the image ids, one a line; by default NAME.ids.txt beside it.")
@click.option("--member", metavar="CHECKPOINT", help="With an .npz of several checkpoints: which one.")
@click.option("--partial", is_flag=True, help="Images that the file lacks count as unreadable.")
@click.option("--tag", "tags", multiple=True, help="May repeat.")
@json_option
@named_errors
def import_predictions(
    path: Path,
    name: str | None,
    dataset: str,
    kind: Literal["probs", "logits"] | None,
    ids: Path | None,
    member: str | None,
    partial: bool,
    tags: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a member of evaluations from FILE: .npz, .npy with ids, .csv or .parquet.

    Rows are matched to images by id, columns to classes by name where the file has names. Whether values are posteriors
    or logits is declared (--probs, --logits, or the name of the array in an .npz), never guessed.
    """
    request = PredictionsRequest(
        path=str(path.absolute()),
        name=name or path.stem,
        dataset=dataset,
        kind=kind,
        ids=None if ids is None else str(ids.absolute()),
        member=member,
        partial=partial,
        tags=list(tags),
    )
    document = backend().import_predictions(request)
    if as_json:
        print_json(document)
        return
    error = document["error"]
    print_fields(
        [
            ("name", document["name"]),
            ("id", document["id"]),
            ("state", document["state"] + (f" [{error['code']}]: {error['message']}" if error else "")),
            ("classes", document["classes"]),
            ("fingerprint", document["fingerprint"]),
            ("source", document["source"]),
        ]
    )


@predictions.command("export")
@click.argument("evaluation_id", metavar="ID")
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help=".npz, .npy, .csv or .parquet."
)
@click.option("--member", metavar="CHECKPOINT", help="One member; in a table, over all its views.")
@json_option
@named_errors
def export_predictions(evaluation_id: str, output: Path, member: str | None, as_json: bool) -> None:
    """Write the posteriors of a finished evaluation.

    An .npz has ids, labels, classes and one array probs/CHECKPOINT/MODE/Q a view. The other formats hold one table: the
    ensemble's posteriors, or those of --member.
    """
    document = backend().export_predictions(evaluation_id, output.absolute(), member)
    if as_json:
        print_json(document)
        return
    print_fields([("file", document["path"]), ("images", document["images"]), ("holds", ", ".join(document["arrays"]))])


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(predictions)
