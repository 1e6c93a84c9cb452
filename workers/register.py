"""Registration: a worker opens the file or folder that a request named, and records what it found."""

from __future__ import annotations

from pathlib import Path

from app.services import checkpoints, datasets
from app.services.checkpoints import CheckpointFacts
from app.services.leases import ItemLease
from ensembles.architectures import architecture_from_dict
from ensembles.checkpoints import CheckpointMetadata
from ensembles.datasets import DatasetLayout, index_images, list_images
from ensembles.errors import CheckpointCorruptError
from ensembles.scales import TrainingScale
from workers.context import WorkerContext
from workers.inspect_checkpoint import inspect_in_child


def register_checkpoint(context: WorkerContext, item: ItemLease) -> None:
    """Read a weights file and make its checkpoint ready.

    Raises:
        InspectionError, CheckpointError: what is wrong with the file.
        LeaseLostError: another worker has taken over.
    """
    path = Path(item.payload["path"])
    found = inspect_in_child(path, waiting=context.heartbeat.step)
    architecture = architecture_from_dict(found["architecture"])
    said = CheckpointMetadata.from_dict(found["metadata"])
    if said.classes is not None and len(said.classes) != architecture.classes:
        reason = f"its metadata names {len(said.classes)} classes, the network has {architecture.classes} outputs"
        raise CheckpointCorruptError(str(path), reason)

    stated = CheckpointMetadata.from_dict(item.payload)
    scale: TrainingScale | None = stated.training_scale or said.training_scale
    preprocessing = stated.preprocessing or said.preprocessing or architecture.recipe.preprocessing
    checkpoints.complete_registration(
        context.runtime.db,
        item,
        CheckpointFacts(
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
            class_names=None if said.classes is None else list(said.classes),
        ),
    )


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
