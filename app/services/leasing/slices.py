"""What passes between a worker and the service: a slice as it is leased, and what became of each of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.artifacts import StoredArtifact


@dataclass(frozen=True)
class LeasedPart:
    """One set's share of a slice: all that a worker needs to run a checkpoint under a view.

    Attributes:
        id: of the part.
        token: of this lease; it belongs into the artifact's name.
        set_id: the prediction set.
        view: `ViewSpec.to_dict()`.
        checkpoint_id: id of the checkpoint whose file is read.
        checkpoint_name: for messages.
        checkpoint_path: where the file lies.
        checkpoint_sha256: what it must be.
        architecture: `Architecture.to_dict()`.
        preprocessing: `Preprocessing.to_dict()`.
        batch_limit: the most images (dense) or crops of one forward pass to try, after leases on it vanished; or None.
        killed: where it is one image over which so many workers vanished that no more is to try it, how many; else 0.
        class_outputs: for each class of the data set the network's output that means it; None where they are the same.
    """

    id: str
    token: int
    set_id: str
    view: dict[str, Any]
    checkpoint_id: str
    checkpoint_name: str
    checkpoint_path: str
    checkpoint_sha256: str
    architecture: dict[str, Any]
    preprocessing: dict[str, Any]
    batch_limit: int | None
    killed: int = 0
    class_outputs: tuple[int, ...] | None = None


@dataclass(frozen=True)
class LeasedSlice:
    """Images [start, stop) of one data set, in canonical order, for every set in `parts`."""

    start: int
    stop: int
    dataset_id: str
    dataset_root: str
    dataset_name: str
    index_key: str
    index_sha256: str
    parts: tuple[LeasedPart, ...]


@dataclass(frozen=True)
class FinishedPart:
    """What a worker made of a part.

    Attributes:
        part: as it was leased.
        artifact: (images, K) float32 posteriors.
        unreadable: one {"index", "image_id", "reason"} for each image that could not be read, canonical indexes.
        batch: the largest number of images (dense) or crops of one forward pass.
        seconds: how long it took.
        environment: device and versions.
    """

    part: LeasedPart
    artifact: StoredArtifact
    unreadable: list[dict[str, Any]]
    batch: int
    seconds: float
    environment: dict[str, Any]


@dataclass(frozen=True)
class PartFile:
    """Where the posteriors of images [start, stop) of a set lie."""

    id: str
    start: int
    stop: int
    artifact: str
    sha256: str
    unreadable: list[dict[str, Any]]
