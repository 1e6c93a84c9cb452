"""`softvote train`. torch is imported only when the command runs."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.cli.output import json_option, mover, named_errors, print_fields, print_json, progress_bar, thousands
from ensembles.errors import Problem, SpecError, UnknownNameError
from ensembles.scales import TrainingScale
from ensembles.specs import PREPROCESSING_PRESETS
from workers.training.curves import epoch_line, error_curves

if TYPE_CHECKING:
    from workers.training.loop import EpochReport
    from workers.training.plan import TrainingPlan

#: As of a program that SIGINT ended.
EXIT_INTERRUPTED = 130
#: Epochs without a better validation error after which the learning rate falls; the paper does not give a number.
_PATIENCE = 5
_INITIALISATIONS = ("he", "paper")


@click.command()
@click.option("--config", "configuration", required=True, help="A, A-LRN, B, B-5x5, C, D or E.")
@click.option("--width", type=float, default=1.0, show_default=True, help="Factor on channels and FC units.")
@click.option("--batch-norm", is_flag=True, help="Batch normalisation after each convolution; not in the paper.")
@click.option("--crop", type=int, default=224, show_default=True, help="Side of the training crop, px.")
@click.option("--train-scale", required=True, help="S in px: 256, or 256-512 to draw it anew for each image.")
@click.option("--dataset", required=True, help="Image folder or manifest, or the name of a registered data set.")
@click.option("--val", help="Likewise; the validation error is measured on it after each epoch.")
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="Checkpoint, *.safetensors."
)
@click.option(
    "--init",
    default="he",
    show_default=True,
    help="he, paper (normal with variance 0.01), or a checkpoint whose layers to begin with.",
)
@click.option("--epochs", type=int, default=74, show_default=True)
@click.option("--batch-size", type=int, default=256, show_default=True)
@click.option("--learning-rate", type=float, default=1e-2, show_default=True)
@click.option(
    "--decay-epochs",
    help="Comma-separated: the learning rate falls to a tenth after each. By default 37,56,67 without --val.",
)
@click.option(
    "--patience",
    type=int,
    help="The learning rate falls to a tenth, three times at most, whenever the validation error reached no new "
    f"minimum for this many epochs. By default {_PATIENCE} with --val and without --decay-epochs.",
)
@click.option("--momentum", type=float, default=0.9, show_default=True)
@click.option("--weight-decay", type=float, default=5e-4, show_default=True)
@click.option("--dropout", type=float, default=0.5, show_default=True, help="After the first two FC layers.")
@click.option("--flips/--no-flips", default=True, show_default=True, help="Mirror each image with probability 1/2.")
@click.option("--rgb-shift", type=float, default=0.1, show_default=True, help="Random colour shift; 0 for none.")
@click.option(
    "--preprocess", help="torchvision, vgg-mean or caffe-vgg. By default that of --init FILE, else the mean colour."
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:NUMBER.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads of one operation; by default all CPUs. Bits depend on it.",
)
@json_option
@named_errors
def train(
    train_scale: str,
    dataset: str,
    val: str | None,
    output: Path,
    init: str,
    decay_epochs: str | None,
    patience: int | None,
    flips: bool,
    preprocess: str | None,
    device: str,
    threads: int | None,
    as_json: bool,
    **choices: Any,
) -> None:
    """Train a network by the paper's recipe and write a checkpoint. The same command goes on after an interruption."""
    try:
        from workers.devices import prepare_device, select_device, usable_threads  # noqa: PLC0415 - torch
        from workers.training import loop  # noqa: PLC0415
        from workers.training.plan import TrainingPlan  # noqa: PLC0415
        from workers.training.sources import open_dataset  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise click.UsageError("this needs the worker extra: pip install 'softvote[worker]'") from error

    if decay_epochs is None and patience is None and val is not None:
        patience = _PATIENCE
    if decay_epochs is not None or patience is not None:
        choices["decay_epochs"] = _numbers(decay_epochs or "")
    plan = TrainingPlan(
        training_scale=TrainingScale.parse(train_scale),
        patience=patience,
        hflip=flips,
        preprocessing=_preprocessing(preprocess),
        **_initialisation(init),
        **choices,
    )
    chosen = select_device(device)
    prepare_device(chosen, threads or usable_threads())
    # On a terminal rich writes lines above its bar; where only one of the two streams is one, they would be lost.
    no_bar = as_json or not sys.stdout.isatty()
    with progress_bar(no_bar, "images") as bar:
        images = open_dataset(dataset, "dataset", mover(bar))
        validation = None if val is None else open_dataset(val, "val", mover(bar))
    if not as_json:
        _print_beginning(plan, len(images.index.images), len(images.index.classes))
        if (state := loop.state_path(output)).exists():
            click.echo(f"Going on from {state}")

    finished = 0

    def report(epoch: EpochReport) -> None:
        nonlocal finished
        finished = epoch.epoch
        if not as_json:
            click.echo(epoch_line(epoch, plan.epochs))

    with progress_bar(no_bar, "epoch") as bar:

        def advance(epoch: int, shown: int, total: int) -> None:
            if bar is not None:
                bar.update(bar.task_ids[0], completed=shown, total=total, description=f"epoch {epoch}/{plan.epochs}")

        try:
            history = loop.train(
                plan, images, output, validation=validation, device=chosen, progress=report, advance=advance
            )
        except KeyboardInterrupt:
            interrupted = True
        else:
            interrupted = False
    if interrupted:
        _print_interrupted(loop.state_path(output), finished, plan.epochs)
        sys.exit(EXIT_INTERRUPTED)
    document = _document(output, plan, history, images.index.fingerprint, len(images.index.images))
    print_json(document) if as_json else _print_end(document, history)


def _numbers(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not all(part.isdecimal() for part in parts):
        raise SpecError([Problem("decay_epochs", "whole numbers separated by commas, such as 37,56,67", text)])
    return tuple(map(int, parts))


def _preprocessing(name: str | None) -> Any:
    if name is None:
        return None
    if name not in PREPROCESSING_PRESETS:
        raise UnknownNameError("preprocess", name, PREPROCESSING_PRESETS)
    return PREPROCESSING_PRESETS[name]


def _initialisation(value: str) -> dict[str, Any]:
    """The plan's fields for `--init`; a file's layers take the place of some of He's."""
    if value in _INITIALISATIONS:
        return {"initialisation": value}
    if not Path(value).is_file():
        raise SpecError([Problem("init", f"{', '.join(_INITIALISATIONS)}, or the path of a checkpoint", value)])
    return {"init_from": Path(value)}


def _document(
    output: Path, plan: TrainingPlan, history: tuple[EpochReport, ...], fingerprint: str, images: int
) -> dict[str, Any]:
    from ensembles.checkpoints import file_sha256, read_metadata  # noqa: PLC0415 - torch

    metadata = read_metadata(output)
    architecture = plan.architecture(len(metadata.classes or ()))
    return {
        "output": str(output),
        "sha256": file_sha256(output),
        "architecture": architecture.name,
        **architecture.to_dict(),
        "parameters": architecture.parameters,
        "training_scale": metadata.to_dict()["training_scale"],
        "preprocessing": metadata.to_dict()["preprocessing"],
        "class_names": metadata.to_dict()["classes"],
        "images": images,
        "dataset_fingerprint": fingerprint,
        "plan": plan.to_dict(),
        "epochs": [asdict(report) for report in history],
    }


def _print_beginning(plan: TrainingPlan, images: int, classes: int) -> None:
    architecture = plan.architecture(classes)
    print_fields(
        [
            ("network", f"{architecture.name}, {thousands(architecture.parameters)} parameters, crop {plan.crop}"),
            ("training scale S", str(plan.training_scale)),
            ("images", f"{thousands(images)} of {classes} classes"),
        ]
    )


def _print_interrupted(state: Path, finished: int, epochs: int) -> None:
    if state.exists():
        kept = f"{finished} of {epochs} epochs are kept in {state}; the same command goes on from there"
    else:
        kept = "no epoch was finished, so nothing is kept"
    click.echo(f"Interrupted: {kept}.", err=True)


def _print_end(document: dict[str, Any], history: tuple[EpochReport, ...]) -> None:
    click.echo(f"\n{error_curves(history)}\n")
    print_fields([("checkpoint", document["output"]), ("sha256", document["sha256"])])
    click.echo(f"softvote checkpoint add {document['output']}")
