"""Registration: a worker opens the file or folder that a request named, and records what it found."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from app.services import checkpoints, datasets, imports
from app.services.checkpoints import CheckpointFacts
from app.services.leasing.leases import ItemLease
from ensembles.architectures import NetworkArchitecture, architecture_from_dict
from ensembles.checkpoints import CheckpointMetadata
from ensembles.configurations import Architecture
from ensembles.datasets import DatasetLayout, index_images, list_images
from ensembles.errors import CheckpointCorruptError, Problem, SpecError
from ensembles.scales import TrainingScale
from ensembles.torchvision_networks import TorchvisionArchitecture
from workers.context import WorkerContext
from workers.inspect_checkpoint import inspect_in_child
from workers.published_weights import PublishedWeights, published_weights


def register_checkpoint(context: WorkerContext, item: ItemLease) -> None:
    """Read a weights file and make its checkpoint ready.

    Raises:
        InspectionError, CheckpointError: what is wrong with the file.
        SpecError, UnknownNameError: what the request states cannot be.
        LeaseLostError: another worker has taken over.
    """
    facts = read_facts(context, Path(item.payload["path"]), item.payload)
    checkpoints.complete_registration(context.runtime.db, item, facts)


def read_facts(context: WorkerContext, path: Path, payload: Mapping[str, Any]) -> CheckpointFacts:
    """What a weights file is, together with what a request states about it.

    Args:
        context: whose heartbeat goes on meanwhile.
        path: of the file.
        payload: of the item that registers it.

    Raises:
        InspectionError, CheckpointError: what is wrong with the file.
        SpecError, UnknownNameError: what the request states cannot be.
    """
    stated = CheckpointMetadata.from_dict(payload)
    # Items of an earlier release have no more than path, training scale and preprocessing.
    weights, name, crop = (payload.get(field) for field in ("weights", "architecture", "crop"))
    published = None if weights is None else published_weights(weights)
    found = inspect_in_child(path, waiting=context.heartbeat.step, architecture=name, crop=crop)
    architecture = architecture_from_dict(found["architecture"])
    if published is not None:
        architecture = published.applied(cast("Architecture | TorchvisionArchitecture", architecture))
    said = CheckpointMetadata.from_dict(found["metadata"])
    classes = _class_names(path, architecture, stated, said, published)
    scale: TrainingScale | None = stated.training_scale or said.training_scale
    preprocessing = (
        stated.preprocessing
        or (published and published.preprocessing)
        or said.preprocessing
        or architecture.recipe.preprocessing
    )
    return CheckpointFacts(
        path=str(path),
        sha256=found["sha256"],
        size_bytes=found["size_bytes"],
        architecture=architecture.to_dict(),
        architecture_name=architecture.name,
        classes=architecture.classes,
        parameters=architecture.parameters,
        macs=float(architecture.macs(architecture.crop, architecture.crop)),
        training_scale=None if scale is None else (scale.smallest, scale.largest),
        preprocessing=preprocessing.to_dict(),
        class_names=None if classes is None else list(classes),
    )


def _class_names(
    path: Path,
    architecture: NetworkArchitecture,
    stated: CheckpointMetadata,
    said: CheckpointMetadata,
    published: PublishedWeights | None,
) -> tuple[str, ...] | None:
    """In the order of the outputs: the request's, the file's, or torchvision's, in this order.

    Raises:
        SpecError: the request's are not one an output.
        CheckpointCorruptError: the file's are not one an output.
    """
    outputs = architecture.classes
    if stated.classes is not None and len(stated.classes) != outputs:
        rule = f"one name for each of the {outputs} outputs of {architecture.name}"
        raise SpecError([Problem("classes", rule, len(stated.classes))])
    if said.classes is not None and len(said.classes) != outputs:
        reason = f"its metadata names {len(said.classes)} classes, the network has {outputs} outputs"
        raise CheckpointCorruptError(str(path), reason)
    # Whoever trained the last layer anew has other classes, and no names of them.
    theirs = published.classes if published is not None and len(published.classes) == outputs else None
    return stated.classes or said.classes or theirs


def import_predictions(context: WorkerContext, item: ItemLease) -> None:
    """Read a file of predictions and make the checkpoint that stands for them ready.

    Raises:
        PredictionsFileError: what is wrong with the file.
        LeaseLostError: another worker has taken over.
        StorageFullError: no room for the posteriors.
    """
    imports.complete_import(context.runtime.db, context.runtime.artifacts, item)


def register_dataset(context: WorkerContext, item: ItemLease) -> None:
    """Read every image of a data set and make it ready.

    Raises:
        DatasetFormatError, EmptyDatasetError: what is wrong with it.
        StoppedError: the worker was asked to stop.
        LeaseLostError: another worker has taken over.
    """
    labels = item.payload["labels"]
    layout = DatasetLayout(item.payload["format"], Path(item.payload["root"]), None if labels is None else Path(labels))
    index = index_images(list_images(layout), progress=lambda _done, _total: context.heartbeat.step())
    datasets.complete_registration(context.runtime.db, item, context.runtime.artifacts, index)
