"""`softvote dataset …`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from app.cli.backends import LocalBackend
from app.cli.context import backend
from app.cli.following import wait_option, wait_until_registered
from app.cli.output import (
    EXIT_FAILED,
    json_option,
    mover,
    named_errors,
    print_fields,
    print_json,
    print_table,
    progress_bar,
    thousands,
)
from app.representations.requests import DatasetRequest
from ensembles.datasets import FORMATS

#: Lines of each kind that `verify` prints; JSON has them all.
_SHOWN = 20


@click.group()
def dataset() -> None:
    """Register, look at and verify data sets."""


@dataset.command("add")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Unique name; by default the folder's or the manifest's.")
@click.option(
    "--format",
    "dataset_format",
    type=click.Choice([name.replace("_", "-") for name in FORMATS]),
    help="By default told by PATH.",
)
@click.option(
    "--devkit",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of ImageNet's devkit; by default looked for in PATH and beside it.",
)
@wait_option
@json_option
@named_errors
def dataset_add(
    path: Path, name: str | None, dataset_format: Any, devkit: Path | None, wait: bool, as_json: bool
) -> None:
    """Register PATH and fingerprint it: a folder of class folders, a CSV manifest, or ImageNet's validation set."""
    request = DatasetRequest(
        path=str(path.absolute()),
        name=name or (path.name if path.is_dir() else path.stem),
        format=dataset_format and dataset_format.replace("-", "_"),
        devkit=None if devkit is None else str(devkit.absolute()),
    )
    source = backend()
    document = source.add_dataset(request)
    if wait:
        document = wait_until_registered(lambda: source.dataset(document["id"]))
    print_json(document) if as_json else _print_dataset(document)
    if document["state"] == "failed":
        sys.exit(EXIT_FAILED)


@dataset.command("ls")
@json_option
@named_errors
def dataset_ls(as_json: bool) -> None:
    """List the data sets."""
    documents = backend().datasets()
    if as_json:
        print_json(documents)
        return
    print_table(
        ["name", "format", "images", "classes", "fingerprint", "state"],
        [
            (d["name"], d["format"], thousands(d["images"]), d["classes"], (d["fingerprint"] or "")[:12], d["state"])
            for d in documents
        ],
        right=("images", "classes"),
    )


@dataset.command("show")
@click.argument("key", metavar="NAME_OR_ID")
@json_option
@named_errors
def dataset_show(key: str, as_json: bool) -> None:
    """Show one data set."""
    document = backend().dataset(key)
    print_json(document) if as_json else _print_dataset(document)


@dataset.command("verify")
@click.argument("key", metavar="NAME_OR_ID")
@json_option
@named_errors
def dataset_verify(key: str, as_json: bool) -> None:
    """Read every file again and name what changed, is missing, is new or has another label; exit 1 if anything."""
    source = backend()
    if not isinstance(source, LocalBackend):
        raise click.UsageError("verify reads the files on this machine; unset SOFTVOTE_URL")
    with progress_bar(as_json, "images") as bar:
        found = source.verify_dataset(key, mover(bar))
    print_json(found) if as_json else _print_verification(found)
    if not found["unchanged"]:
        sys.exit(EXIT_FAILED)


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(dataset)


def _print_dataset(document: dict[str, Any]) -> None:
    error = document["error"]
    print_fields(
        [
            ("name", document["name"]),
            ("id", document["id"]),
            ("state", document["state"] + (f" [{error['code']}]: {error['message']}" if error else "")),
            ("format", document["format"]),
            ("images", thousands(document["images"])),
            ("classes", document["classes"]),
            ("fingerprint", document["fingerprint"]),
            ("source", document["source"]),
            ("labels from", document["label_source"]),
        ]
    )


def _print_verification(found: dict[str, Any]) -> None:
    for kind in ("changed", "missing", "new"):
        _print_differences(kind, [(each["id"], each["reason"]) for each in found[kind]])
    moves = [(each["id"], f"{each['registered_class']} -> {each['found_class']}") for each in found["relabelled"]]
    _print_differences("relabelled", moves)
    if found["unchanged"]:
        count = "1 image" if found["images"] == 1 else f"{thousands(found['images'])} images"
        click.echo(f"{count}, as registered")


def _print_differences(kind: str, images: Sequence[tuple[str, str | None]]) -> None:
    for image_id, why in images[:_SHOWN]:
        click.echo(f"{kind:<10}  {image_id!r}" + (f"  {why}" if why else ""))
    if len(images) > _SHOWN:
        click.echo(f"{kind:<10}  and {thousands(len(images) - _SHOWN)} more (--json lists all)")
