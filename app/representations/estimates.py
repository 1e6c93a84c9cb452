"""What a request would cost, as JSON."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document


class EstimatedMemberDocument(Document):
    """One checkpoint of the request, as it would be evaluated; `scales` are test scales Q in px."""

    checkpoint: str
    protocol_title: str
    modes: list[Literal["dense", "crops", "imported"]]
    scales: list[int]
    weight: float


class EstimatedViewDocument(Document):
    """One (checkpoint, mode, scale): `total` images are needed, `done` of them exist; `gmacs` is the rest.

    `set_id` names the prediction set that would be used, null where one would be made. `total` is rounded up to whole
    batches, so that it may exceed the images that are scored.
    """

    checkpoint: str
    mode: Literal["dense", "crops", "imported"]
    scale: int | None
    view_digest: str
    set_id: str | None
    done: int
    total: int
    gmacs: float


class EstimatedDeviceDocument(Document):
    """One live worker and how long its device would take alone, images and everything else included.

    The rate is what this process measured lately, or else the last one on the same host and device; null before any
    was measured.
    """

    worker: str
    host: str
    device: str
    device_name: str | None
    gmacs_per_second: float | None
    seconds: float | None


class EstimateDocument(Document):
    """What a request would run: after reuse (`gmacs`, `disk_bytes`), and if nothing were known (`gmacs_total`).

    `seconds` is for all measured devices together; null where none is. `disk_bytes` counts posteriors and the answers
    that are kept image by image, without the headers of files.
    """

    dataset: str
    images: int
    checkpoints: list[EstimatedMemberDocument]
    views: list[EstimatedViewDocument]
    image_views: int
    image_views_done: int
    gmacs: float
    gmacs_total: float
    disk_bytes: int
    devices: list[EstimatedDeviceDocument]
    seconds: float | None
