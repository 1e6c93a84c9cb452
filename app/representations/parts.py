"""Prediction parts as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from app.representations.base import Document, ErrorInfo


class PartWorkerDocument(Document):
    """Who holds a part, or held it last, and when that worker's heart beat last."""

    id: str
    name: str
    host: str
    last_seen: dt.datetime


class PartDocument(Document):
    """Images [start, stop) of one (checkpoint, mode, scale), in canonical order: what one worker does at a time.

    `attempts` ended in an error, `lost_leases` in silence; `batch` is the most images (dense) or crops of one forward
    pass. `waiting_for` says why it is not done.
    """

    id: str
    set_id: str
    checkpoint: str
    mode: Literal["dense", "crops", "imported"]
    scale: int | None
    start: int
    stop: int
    state: Literal["pending", "leased", "done", "failed"]
    worker: PartWorkerDocument | None
    lease_until: dt.datetime | None
    attempts: int
    lost_leases: int
    batch: int | None
    seconds: float | None
    n_unreadable: int
    created_at: dt.datetime
    finished_at: dt.datetime | None
    waiting_for: str | None
    error: ErrorInfo | None
