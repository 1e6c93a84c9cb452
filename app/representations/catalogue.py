"""Checkpoints, data sets, protocols and workers as JSON."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from typing import Any

from app.representations.base import Document, ErrorInfo
from ensembles.datasets import printable_id
from ensembles.verification import Verification


class CheckpointDocument(Document):
    """A registered checkpoint; what only the file tells is null until a worker has read it."""

    id: str
    name: str
    state: str
    error: ErrorInfo | None
    sha256: str | None
    fingerprint: str | None
    architecture: str | None
    configuration: str | None
    batch_norm: bool | None
    width: float | None
    classes: int | None
    crop: int | None
    training_scale: list[int] | None
    parameters: int | None
    gmacs: float | None
    preprocessing: dict[str, Any] | None
    # How the network's published weights are evaluated: smaller side in px before the centre crop, and interpolation.
    recipe: dict[str, Any] | None
    # Why the network has no dense form; null where it has one.
    dense_refusal: str | None
    class_names: list[str] | None
    source: str
    size_bytes: int | None
    tags: list[str]
    notes: str
    created_at: dt.datetime


class LayerDocument(Document):
    """One row of a network's layer table."""

    name: str
    type: str
    output_shape: list[int]
    parameters: int


class DatasetDocument(Document):
    """A registered data set."""

    id: str
    name: str
    state: str
    error: ErrorInfo | None
    format: str | None
    images: int | None
    classes: int | None
    class_names: list[str] | None
    fingerprint: str | None
    source: str
    # The manifest or devkit that the labels come from; null where they are the names of folders.
    label_source: str | None
    created_at: dt.datetime


class ImageDocument(Document):
    r"""One image of a data set; `index` is its place in canonical order.

    Bytes of a file name that are not UTF-8 read `\xff` in `id`.
    """

    index: int
    id: str
    label: int
    class_name: str
    sha256: str
    width: int
    height: int


class FileDifferenceDocument(Document):
    """A file that is not as registered; hashes are null where there is none, `reason` says why one cannot be read."""

    id: str
    registered_sha256: str | None
    found_sha256: str | None
    reason: str | None


class LabelDifferenceDocument(Document):
    """An image that stands under another class than when it was registered."""

    id: str
    registered_class: str
    found_class: str


class VerificationDocument(Document):
    """What differs between a registered data set and its files as they are now."""

    dataset: str
    images: int
    unchanged: bool
    changed: list[FileDifferenceDocument]
    missing: list[FileDifferenceDocument]
    new: list[FileDifferenceDocument]
    relabelled: list[LabelDifferenceDocument]

    @classmethod
    def of(cls, dataset: str, found: Verification) -> VerificationDocument:
        """From what the library found."""
        files = {
            kind: [
                FileDifferenceDocument(**{**asdict(each), "id": printable_id(each.id)}) for each in getattr(found, kind)
            ]
            for kind in ("changed", "missing", "new")
        }
        labels = [LabelDifferenceDocument(**{**asdict(each), "id": printable_id(each.id)}) for each in found.relabelled]
        return cls(dataset=dataset, images=found.images, unchanged=found.unchanged, **files, relabelled=labels)


class ProtocolDocument(Document):
    """A preset: its fields, its digest, and the views it expands to for the given training scale and crop.

    `views` is null where none was given, and where the preset does not fit: then `error` says why.
    """

    name: str
    summary: str
    digest: str
    protocol: dict[str, Any]
    views: list[dict[str, Any]] | None
    error: ErrorInfo | None = None


class WorkerDocument(Document):
    """A worker process; `alive` while it was seen within the last half minute."""

    id: str
    name: str
    host: str
    pid: int
    device: str
    queues: list[str]
    state: str
    alive: bool
    doing: str | None
    images_per_second: float | None
    versions: dict[str, Any]
    started_at: dt.datetime
    last_seen: dt.datetime


class EventDocument(Document):
    """Something that happened to an evaluation, part, item, checkpoint or data set (`subject`)."""

    id: int
    at: dt.datetime
    kind: str
    evaluation: str | None
    subject: str | None
    worker: str | None
    token: int | None
    detail: dict[str, Any]
