"""`softvote checkpoint …`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from app.cli.context import backend
from app.cli.output import json_option, named_errors, print_fields, print_json, print_table, thousands
from app.representations.requests import CheckpointRequest


@click.group()
def checkpoint() -> None:
    """Register and look at checkpoints."""


@checkpoint.command("add")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Unique name; by default the file's.")
@click.option("--train-scale", help="Training scale S in px: 256, or 256-512 when jittered. By default the file's own.")
@click.option("--preprocess", help="torchvision, vgg-mean or caffe-vgg. By default the file's own, else torchvision.")
@click.option("--tag", "tags", multiple=True, help="May repeat.")
@json_option
@named_errors
def checkpoint_add(
    path: Path, name: str | None, train_scale: str | None, preprocess: str | None, tags: tuple[str, ...], as_json: bool
) -> None:
    """Register the weights file PATH; configuration, width, batch norm and classes are recognised from its tensors."""
    request = CheckpointRequest(
        path=str(path.absolute()),
        name=name or path.stem,
        training_scale=train_scale,
        preprocessing=preprocess,
        tags=list(tags),
    )
    document = backend().add_checkpoint(request)
    print_json(document) if as_json else _print_checkpoint(document)


@checkpoint.command("ls")
@json_option
@named_errors
def checkpoint_ls(as_json: bool) -> None:
    """List the checkpoints."""
    documents = backend().checkpoints()
    if as_json:
        print_json(documents)
        return
    print_table(
        ["name", "network", "S", "classes", "parameters", "GMAC", "state"],
        [
            (
                d["name"],
                d["architecture"],
                _scale(d["training_scale"]),
                d["classes"],
                thousands(d["parameters"]),
                _gmacs(d["gmacs"]),
                d["state"],
            )
            for d in documents
        ],
        right=("classes", "parameters", "GMAC"),
    )


@checkpoint.command("show")
@click.argument("key", metavar="NAME_OR_ID")
@json_option
@named_errors
def checkpoint_show(key: str, as_json: bool) -> None:
    """Show one checkpoint with its layer table."""
    source = backend()
    document, layers = source.checkpoint(key), source.layers(key)
    if as_json:
        print_json({**document, "layers": layers})
        return
    _print_checkpoint(document)
    if layers:
        click.echo()
        rows = [
            (row["name"], row["type"], " x ".join(map(str, row["output_shape"])), thousands(row["parameters"]))
            for row in layers
        ]
        total = ("total", "", "", thousands(sum(row["parameters"] for row in layers)))
        print_table(
            ["layer", "type", "output shape", "parameters"], [*rows, total], right=("output shape", "parameters")
        )


def register(group: click.Group) -> None:
    """Add these commands."""
    group.add_command(checkpoint)


def _print_checkpoint(document: dict[str, Any]) -> None:
    error = document["error"]
    print_fields(
        [
            ("name", document["name"]),
            ("id", document["id"]),
            ("state", document["state"] + (f" [{error['code']}]: {error['message']}" if error else "")),
            ("network", document["architecture"]),
            ("configuration", document["configuration"]),
            ("batch norm", {True: "yes", False: "no", None: None}[document["batch_norm"]]),
            ("width", document["width"]),
            ("classes", document["classes"]),
            ("crop", document["crop"]),
            ("training scale S", _scale(document["training_scale"])),
            ("parameters", thousands(document["parameters"])),
            ("GMAC at the crop", _gmacs(document["gmacs"])),
            ("preprocessing", document["preprocessing"]),
            ("recipe", document["recipe"]),
            ("not dense", document["dense_refusal"]),
            ("sha256", document["sha256"]),
            ("source", document["source"]),
            ("tags", ", ".join(document["tags"])),
            ("notes", document["notes"]),
        ]
    )


def _scale(scale: list[int] | None) -> str:
    if not scale:
        return ""
    return str(scale[0]) if scale[0] == scale[-1] else f"[{scale[0]};{scale[-1]}]"


def _gmacs(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
