"""What a server answers, field by field as its OpenAPI document has it. What a newer server adds is kept too."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

ComparedMetric = Literal["top1_error", "top5_error", "nll", "brier", "ece"]
GateMetric = Literal["top1_error", "top5_error", "nll"]


class Document(BaseModel):
    """An immutable answer."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ErrorInfo(Document):
    """Why something failed."""

    code: str
    message: str


class Progress(Document):
    """Image-views done of those wanted."""

    done: int
    total: int
    images_per_second: float | None
    eta_seconds: float | None


class Member(Document):
    """One checkpoint of an evaluation."""

    checkpoint: str
    checkpoint_id: str
    architecture: str
    training_scale: list[int] | None
    protocol: dict[str, Any]
    protocol_name: str | None
    protocol_title: str
    scales: list[int]
    weight: float
    class_mapping: dict[str, Any] | None


class EvaluationRow(Document):
    """A row of the list of evaluations."""

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


class Evaluation(Document):
    """One evaluation; `waiting_for` says in a sentence what happens or why nothing does."""

    id: str
    status: str
    dataset: str
    protocol: dict[str, Any]
    protocol_name: str | None
    protocol_title: str
    checkpoints: list[Member]
    fusion: dict[str, Any]
    images: int
    unreadable: str
    force: bool
    priority: int
    progress: Progress
    views: list[dict[str, Any]]
    waiting_for: str | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    finished_at: dt.datetime | None
    error: ErrorInfo | None
    provenance: dict[str, Any]
    links: dict[str, str]

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.status in ("succeeded", "failed", "cancelled")


class ScoreMember(Document):
    """What of which checkpoint went into a score."""

    checkpoint: str
    scales: list[int]
    mode: str


class Score(Document):
    """One number: errors and ece are fractions, nll is in nats; `low`, `high` its 95 % interval where there is one."""

    subject: str
    subject_name: str
    members: list[ScoreMember]
    scales: list[int] | None
    mode: str | None
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    n_unreadable: int


class Pair(Document):
    """A candidate beside the base by one metric; a difference is candidate minus base."""

    candidate: str
    metric: ComparedMetric
    n: int
    base_value: float
    candidate_value: float
    difference: float
    low: float
    high: float
    both_wrong: int | None
    only_base_wrong: int | None
    only_candidate_wrong: int | None
    both_right: int | None
    p_exact: float | None
    p_mid: float | None
    p: float
    p_adjusted: float
    detectable_difference_80: float | None
    verdict: str
    summary: str
    protocols_differ: list[str]


class Comparison(Document):
    """A base and its candidates."""

    base: str
    confidence: float
    metrics: list[ComparedMetric]
    subjects: list[dict[str, Any]]
    pairs: list[Pair]
    ranks: list[dict[str, Any]]
    links: dict[str, str]


class Gate(Document):
    """A verdict, and what it rests on; differences are candidate minus baseline, fractions (nats for nll)."""

    id: str
    verdict: Literal["pass", "fail", "inconclusive"]
    reason: str
    baseline: str
    baseline_reference: str
    candidate: str
    candidate_reference: str
    metric: GateMetric
    margin: float
    alpha: float
    classes: list[str] | None
    baseline_value: float
    candidate_value: float
    difference: float
    low: float
    high: float
    p_worse: float
    n_used: int
    n_total: int
    sequential: bool
    only_base_wrong: int | None
    only_candidate_wrong: int | None
    detectable_difference_80: float | None
    images_to_settle: int | None
    protocols_differ: list[str]
    created_at: dt.datetime
    links: dict[str, str]


class Baseline(Document):
    """A name and what it stands for."""

    name: str
    reference: str
    evaluation: str
    note: str
    promoted_at: dt.datetime


class Checkpoint(Document):
    """A registered checkpoint; `state` is registering, ready or failed."""

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
    recipe: dict[str, Any] | None
    dense_refusal: str | None
    class_names: list[str] | None
    source: str
    size_bytes: int | None
    tags: list[str]
    notes: str
    created_at: dt.datetime


class Dataset(Document):
    """A registered data set; `state` is registering, ready or failed."""

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
    label_source: str | None
    created_at: dt.datetime
