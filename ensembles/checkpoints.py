"""Checkpoints: what is recorded of one, telling its architecture, loading it and saving it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ensembles.architectures import NetworkArchitecture
from ensembles.canonical import canonical_json
from ensembles.configurations import Architecture
from ensembles.errors import (
    ArchitectureMismatchError,
    CheckpointChangedError,
    CheckpointCorruptError,
    CheckpointMissingError,
    CheckpointUnrecognisedError,
    Problem,
    SpecError,
)
from ensembles.recognition import recognise_shapes, shape_differences
from ensembles.scales import TrainingScale
from ensembles.specs import Preprocessing
from ensembles.tensor_files import file_sha256, read_tensors, strip_prefixes
from ensembles.torchvision_models import TorchvisionNetwork, nearest_network
from ensembles.torchvision_networks import TorchvisionArchitecture
from ensembles.vgg import VGG
from ensembles.weight_layouts import in_torchvision_layout, placed

__all__ = [
    "Checkpoint",
    "CheckpointMetadata",
    "file_sha256",
    "load_network",
    "read_metadata",
    "read_tensors",
    "recognise",
    "save_checkpoint",
]

#: What a checkpoint's tensors are loaded into.
Network = VGG | TorchvisionNetwork

#: One key for everything: safetensors writes several in random order, and equal networks should be equal files.
_METADATA_KEY = "softvote"


@dataclass(frozen=True)
class Checkpoint:
    """A weights file and what evaluating it needs to know.

    Attributes:
        sha256: of the file when it was registered, 64 hex digits.
        training_scale: S, where it is known; the paper's test scales derive from it.
    """

    path: Path
    sha256: str
    architecture: NetworkArchitecture
    preprocessing: Preprocessing
    name: str
    training_scale: TrainingScale | None = None


@dataclass(frozen=True)
class CheckpointMetadata:
    """What a safetensors file can say of itself beyond its tensors; None where it does not.

    Attributes:
        classes: class names in the order of the network's outputs.
    """

    training_scale: TrainingScale | None = None
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        scale = self.training_scale
        return {
            "training_scale": None if scale is None else [scale.smallest, scale.largest],
            "preprocessing": None if self.preprocessing is None else self.preprocessing.to_dict(),
            "classes": None if self.classes is None else list(self.classes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CheckpointMetadata:
        """The inverse of `to_dict`; absent fields are None."""
        scale, preprocessing, classes = (data.get(name) for name in ("training_scale", "preprocessing", "classes"))
        if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
            raise SpecError([Problem("metadata.classes", "null or a list of names", classes)])
        return cls(
            None if scale is None else TrainingScale.parse(scale),
            None if preprocessing is None else Preprocessing.from_dict(preprocessing),
            None if classes is None else tuple(classes),
        )


def recognise(
    tensors: Mapping[str, Tensor], stated: str | None = None, crop: int | None = None
) -> Architecture | TorchvisionArchitecture:
    """Tell the architecture from names and shapes: configuration, batch norm, width, classes and crop.

    Args:
        tensors: of the whole state dict.
        stated: a configuration's letter or a network's name that the tensors must be of. It decides only between A and
            A-LRN, which have the same tensors.
        crop: side of the training crop, px, for networks whose tensors do not tell it.

    Raises:
        CheckpointUnrecognisedError: none fits exactly.
        ArchitectureMismatchError: another one than stated.
        SpecError: the network has another crop, or cannot have this one.
    """
    tensors = in_torchvision_layout(strip_prefixes(tensors))
    shapes = _shapes(tensors)
    try:
        found = recognise_shapes(shapes)
    except CheckpointUnrecognisedError as error:
        if error.nearest is None and (nearest := nearest_network(shapes)):
            raise CheckpointUnrecognisedError(error.seen, error.expected, nearest) from None
        raise
    if isinstance(found, TorchvisionArchitecture):
        TorchvisionNetwork(found).check(tensors)
        if crop is not None:
            found = TorchvisionArchitecture.published(found.network, found.classes, crop)
    elif crop not in (None, found.crop):
        raise SpecError([Problem("crop", f"{found.crop} px, which the tensors of {found.name} tell", crop)])
    return found if stated is None else _as_stated(found, stated)


def _as_stated(found: Architecture | TorchvisionArchitecture, stated: str) -> Architecture | TorchvisionArchitecture:
    if isinstance(found, Architecture):
        if found.configuration == "A" and stated in ("A-LRN", "vgg-a-lrn"):
            return replace(found, configuration="A-LRN")
        if stated == found.configuration:
            return found
    if stated != found.name:
        letter = f" (configuration {found.configuration})" if isinstance(found, Architecture) else ""
        raise ArchitectureMismatchError(stated, found.name + letter)
    return found


def load_network(checkpoint: Checkpoint) -> Network:
    """Load a network in evaluation mode, on the CPU, in float32, without gradients.

    Raises:
        CheckpointMissingError: the file is gone.
        CheckpointChangedError: the file is not the one that was registered.
        CheckpointUnrecognisedError: its tensors are not those of `checkpoint.architecture`.
        CheckpointCorruptError, CheckpointUnsafeError, NonFiniteWeightsError: as `read_tensors`.
    """
    try:
        before, found = _file_identity(checkpoint.path), file_sha256(checkpoint.path)
        if found != checkpoint.sha256:
            raise CheckpointChangedError(str(checkpoint.path), checkpoint.sha256, found)
        tensors = read_tensors(checkpoint.path)
        # Hashing and reading open the file twice, and it may have been replaced in between.
        if _file_identity(checkpoint.path) != before:
            raise CheckpointChangedError(str(checkpoint.path), checkpoint.sha256, file_sha256(checkpoint.path))
    except FileNotFoundError:
        raise CheckpointMissingError(str(checkpoint.path)) from None
    # Made without memory and given the tensors themselves: no second copy, no random weights to overwrite.
    network: Network
    if isinstance(checkpoint.architecture, TorchvisionArchitecture):
        network = TorchvisionNetwork(checkpoint.architecture)
        network.load(tensors)
    else:
        network = _vgg(cast("Architecture", checkpoint.architecture), tensors)
    return network.eval().requires_grad_(requires_grad=False)


def _file_identity(path: Path) -> tuple[int, ...]:
    """Differs once a file was replaced or written to."""
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _vgg(architecture: Architecture, tensors: Mapping[str, Tensor]) -> VGG:
    tensors = placed(tensors, architecture)
    differences = shape_differences(architecture.tensor_shapes(), _shapes(tensors))
    if differences:
        raise CheckpointUnrecognisedError(differences, f"{architecture.name} as registered")
    with torch.device("meta"):
        network = VGG(architecture)
    network.load_state_dict(tensors, strict=True, assign=True)
    return network


def save_checkpoint(path: str | Path, network: VGG, metadata: CheckpointMetadata | None = None) -> None:
    """Write a network as safetensors. Equal weights and metadata give equal bytes.

    The file appears complete or not at all.

    Raises:
        SpecError: the name does not end in .safetensors, or the class names are not one an output.
    """
    path, metadata = Path(path), metadata or CheckpointMetadata()
    problems = []
    if path.suffix.lower() != ".safetensors":
        problems.append(Problem("path", "a name ending in .safetensors", path.name))
    if metadata.classes is not None and len(metadata.classes) != network.architecture.classes:
        rule = f"one name for each of the network's {network.architecture.classes} outputs"
        problems.append(Problem("metadata.classes", rule, len(metadata.classes)))
    if problems:
        raise SpecError(problems)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".saving-") as directory:
        partial = Path(directory) / path.name
        # Not save_file, which lets nobody but the owner read: a worker may run as another user.
        partial.write_bytes(safetensors.torch.save(tensors, {_METADATA_KEY: canonical_json(metadata.to_dict())}))
        partial.replace(path)


def read_metadata(path: str | Path) -> CheckpointMetadata:
    """What the file says of itself; empty for `.pth` files and for safetensors written by others.

    Raises:
        CheckpointCorruptError: the file, or our entry in it, cannot be read.
    """
    path = Path(path)
    if path.suffix.lower() != ".safetensors":
        return CheckpointMetadata()
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY)
        return CheckpointMetadata() if text is None else CheckpointMetadata.from_dict(json.loads(text))
    except safetensors.SafetensorError as error:
        raise CheckpointCorruptError(str(path), f"not a complete safetensors file ({error})") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SpecError) as error:
        raise CheckpointCorruptError(str(path), f"its metadata is malformed ({error})") from error


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
