"""Evaluations and their scores as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from app.representations.base import Document, ErrorInfo
from app.representations.ensembles import EvaluatedEnsembleDocument


class ProgressDocument(Document):
    """How far: image-views done of those wanted; a view that was known before counts as done."""

    done: int
    total: int
    images_per_second: float | None
    eta_seconds: float | None


class ClassMappingDocument(Document):
    """The network numbers the classes otherwise than the data set: matched by `names`, or by the list `imagenet-1k`.

    `moved` classes have another number; posteriors are kept in the data set's order.
    """

    by: Literal["names", "imagenet-1k"]
    moved: int


class MemberDocument(Document):
    """One checkpoint of an evaluation; `class_mapping` is null where nothing is mapped."""

    checkpoint: str
    checkpoint_id: str
    architecture: str
    training_scale: list[int] | None
    protocol: dict[str, Any]
    protocol_name: str | None
    protocol_title: str
    scales: list[int]
    weight: float
    class_mapping: ClassMappingDocument | None


class ViewProgressDocument(Document):
    """One (checkpoint, mode, scale) of an evaluation and how far it is; imported predictions have no scale."""

    checkpoint: str
    mode: Literal["dense", "crops", "imported"]
    scale: int | None
    set_id: str
    view_digest: str
    done: int
    total: int
    # Images that were known when the evaluation was submitted.
    reused: int


class EvaluationSummary(Document):
    """A row of the list."""

    id: str
    status: str
    dataset: str
    checkpoints: list[str]
    protocol_name: str | None
    protocol_title: str
    priority: int
    images: int
    top1_error: float | None
    top5_error: float | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    error: ErrorInfo | None


class EvaluationDocument(Document):
    """One evaluation, whole but for its scores."""

    id: str
    status: str
    dataset: str
    protocol: dict[str, Any]
    protocol_name: str | None
    # The preset's name, or the nearest preset's and the options that differ.
    protocol_title: str
    checkpoints: list[MemberDocument]
    fusion: dict[str, Any]
    # The saved ensemble that this is an evaluation of; null where checkpoints were listed.
    ensemble: EvaluatedEnsembleDocument | None
    images: int
    unreadable: str
    force: bool
    priority: int
    progress: ProgressDocument
    views: list[ViewProgressDocument]
    # One sentence: why it is not moving, or what happens now; null once it has ended.
    waiting_for: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    error: ErrorInfo | None
    provenance: dict[str, Any]
    links: dict[str, str]


class ScoreMember(Document):
    """What of which checkpoint went into a score."""

    checkpoint: str
    scales: list[int]
    mode: Literal["dense", "crops", "both", "imported"]


class ScoreDocument(Document):
    """One number: `value` a fraction for errors and ece, nats for nll, 0 to 2 for brier.

    `low`, `high`: its 95 % interval where one is defined.
    """

    subject: Literal["ensemble", "checkpoint"]
    subject_name: str
    members: list[ScoreMember]
    scales: list[int] | None
    mode: Literal["dense", "crops", "both", "imported"] | None
    metric: Literal["top1_error", "top5_error", "nll", "ece", "brier"]
    value: float
    low: float | None
    high: float | None
    n: int
    n_unreadable: int


class CancelledDocument(Document):
    """How many evaluations one request cancelled."""

    cancelled: int


class ScoresDocument(Document):
    """All scores of one evaluation: views, then (checkpoint, mode), then checkpoints, then the ensemble."""

    evaluation: str
    status: str
    items: list[ScoreDocument]
