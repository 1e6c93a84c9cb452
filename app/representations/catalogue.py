"""Checkpoints, data sets, protocols and workers as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Any

from app.representations.base import Document, ErrorInfo


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
    created_at: dt.datetime


class ImageDocument(Document):
    """One image of a data set; `index` is its place in canonical order."""

    index: int
    id: str
    label: int
    class_name: str
    sha256: str
    width: int
    height: int


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
