"""`softvote checkpoint …`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from app.cli.backends import load_runner
from app.cli.context import backend
from app.cli.following import wait_option, wait_until_registered
from app.cli.output import EXIT_FAILED, json_option, named_errors, print_fields, print_json, print_table, thousands
from app.errors import InvalidRequestError
from app.representations.requests import CheckpointRequest
from ensembles.errors import Problem

#: Before the name of weights that torchvision publishes.
_TORCHVISION = "torchvision:"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def checkpoint() -> None:
    """Register and look at checkpoints."""


@checkpoint.command("add")
@click.argument("path", metavar="PATH_OR_URI")
@click.option("--name", help="Unique name; by default the file's.")
@click.option("--weights", type=_FILE, help="With a URI: its file, where it lies elsewhere than in torch hub's cache.")
@click.option("--arch", help="The network that it must be (resnet50, D), and what tells A-LRN from A.")
@click.option("--crop", type=int, help="Side of the training crop in px, for networks whose tensors do not tell it.")
@click.option("--classes", type=_FILE, help="Class names in the order of the outputs, one a line.")
@click.option("--train-scale", help="Training scale S in px: 256, or 256-512 when jittered. By default the file's own.")
@click.option(
    "--preprocess", help="torchvision, inception, vgg-mean or caffe-vgg. By default the file's own, else the network's."
)
@click.option("--tag", "tags", multiple=True, help="May repeat.")
@wait_option
@json_option
@named_errors
def checkpoint_add(
    path: str,
    name: str | None,
    weights: Path | None,
    arch: str | None,
    crop: int | None,
    classes: Path | None,
    train_scale: str | None,
    preprocess: str | None,
    tags: tuple[str, ...],
    wait: bool,
    as_json: bool,
) -> None:
    """Register the weights file PATH; the network and its number of classes are recognised from its tensors.

    torchvision:resnet50/IMAGENET1K_V2 names published weights: preprocessing, crop, resize and class names are
    torchvision's, and the file is looked for in torch hub's cache, then fetched.
    """
    published = path.removeprefix(_TORCHVISION) if path.startswith(_TORCHVISION) else None
    if published is None and weights is not None:
        raise click.UsageError(f"--weights goes with {_TORCHVISION}NETWORK/WEIGHTS; got the file {path!r} too")
    if published is None:
        file = Path(_FILE.convert(path, None, None))
    else:
        file = weights or load_runner().find_published_weights(published)
    request = CheckpointRequest(
        path=str(file.absolute()),
        name=name or (file.stem if published is None else published.replace("/", "-")),
        training_scale=train_scale,
        preprocessing=preprocess,
        architecture=arch,
        crop=crop,
        classes=None if classes is None else _lines(classes),
        weights=published,
        tags=list(tags),
    )
    source = backend()
    document = source.add_checkpoint(request)
    if wait:
        document = wait_until_registered(lambda: source.checkpoint(document["id"]))
    print_json(document) if as_json else _print_checkpoint(document)
    if document["state"] == "failed":
        sys.exit(EXIT_FAILED)


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


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InvalidRequestError([Problem("classes", "a UTF-8 text file, one name a line", str(file))]) from error


def _scale(scale: list[int] | None) -> str:
    if not scale:
        return ""
    return str(scale[0]) if scale[0] == scale[-1] else f"[{scale[0]};{scale[-1]}]"


def _gmacs(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
