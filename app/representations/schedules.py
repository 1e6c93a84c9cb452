"""Schedules, their runs and their trend as JSON."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from app.representations.base import Document, ErrorInfo, Request
from app.representations.gates import Metric
from app.representations.requests import NO_NUL, EvaluationRequest, MemberRequest, Name

Misfire = Literal["catch_up", "skip"]
Verify = Literal["sample", "full", "none"]
RunVerdict = Literal["first", "ok", "drift", "model_change", "regression", "dataset_changed", "failed"]

#: Verdicts that somebody should look at.
ALARMS: tuple[RunVerdict, ...] = ("regression", "drift", "model_change", "dataset_changed", "failed")

Note = Annotated[str, Field(max_length=10_000, pattern=NO_NUL)]


class ScheduleTarget(EvaluationRequest):
    """What is evaluated: an evaluation request. In place of checkpoints a tag may name them, looked up at each slot."""

    checkpoints: list[Name | MemberRequest] = Field(default=[], max_length=64)
    tag: Name | None = None


class ScheduleGate(Request):
    """When an error is a regression: the rule of a gate, against the first run, or the one accepted last."""

    metric: Metric = "top1_error"
    margin: float = Field(default=0.005, ge=0)
    alpha: float = Field(default=0.05, gt=0, lt=0.5)


class ScheduleRequest(Request):
    """Evaluate again and again.

    Either `cron` (five fields, in `timezone`) or `every` (seconds, from the moment it is made). `misfire` says what is
    done about slots that nobody was there to fire: one run for all of them, or none. `verify` computes posteriors of
    unchanged checkpoints again, of the first `sample_images` or of all, and reports the images whose answer moved by
    more than `tolerance`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "nightly",
                    "cron": "30 2 * * *",
                    "timezone": "Europe/Berlin",
                    "target": {"dataset": "digits", "checkpoints": ["digits-d-jitter"]},
                }
            ]
        }
    )

    name: Name
    target: ScheduleTarget
    cron: Annotated[str, Field(max_length=200, pattern=NO_NUL)] | None = None
    every: int | None = None
    timezone: Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)] = "UTC"
    misfire: Misfire = "catch_up"
    max_active: int = Field(default=1, ge=1, le=1000)
    verify: Verify = "sample"
    sample_images: int = Field(default=256, ge=1, le=1_000_000)
    tolerance: float = Field(default=0.0, ge=0, le=1)
    # A factory, whose value is not in the OpenAPI document: generators take no object as a default of "or null".
    gate: ScheduleGate | None = Field(default_factory=ScheduleGate)
    notify: list[RunVerdict] = Field(default=list(ALARMS), max_length=16)
    paused: bool = False


class ScheduleChange(Request):
    """Edit a schedule; what is not given stays. With `cron` the interval ends, and the other way round."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"paused": True}]})

    name: Name | None = None
    target: ScheduleTarget | None = None
    cron: Annotated[str, Field(max_length=200, pattern=NO_NUL)] | None = None
    every: int | None = None
    timezone: Annotated[str, Field(min_length=1, max_length=64, pattern=NO_NUL)] | None = None
    misfire: Misfire | None = None
    max_active: int | None = Field(default=None, ge=1, le=1000)
    verify: Verify | None = None
    sample_images: int | None = Field(default=None, ge=1, le=1_000_000)
    tolerance: float | None = Field(default=None, ge=0, le=1)
    gate: ScheduleGate | None = None
    notify: list[RunVerdict] | None = Field(default=None, max_length=16)
    paused: bool | None = None


class AcknowledgeRequest(Request):
    """Somebody looked at a run. With `accept`, later runs are judged against it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"note": "new decoder, as planned", "accept": True}]})

    note: Note = ""
    accept: bool = False


class FireTimeDocument(Document):
    """One time to come: the instant, how the clocks of the time zone show it, and what a clock change does to it."""

    at: dt.datetime
    local: str
    note: str | None


class ScheduleRunDocument(Document):
    """What became of one slot.

    `verdict` is null until the run is over, and where it was skipped. `findings` says it in words, the gravest first.
    `evaluation` has the number; where nothing had changed it is that of the run before. `verification` computed
    posteriors of unchanged checkpoints again.
    """

    id: str
    schedule: str
    schedule_name: str
    slot: dt.datetime
    cause: Literal["slot", "catch_up", "manual"]
    missed_since: dt.datetime | None
    state: str
    verdict: RunVerdict | None
    findings: list[str]
    detail: dict[str, Any]
    evaluation: str | None
    verification: str | None
    previous_run: str | None
    reference_run: str | None
    request: dict[str, Any] | None
    fingerprints: dict[str, Any] | None
    environment: list[dict[str, Any]]
    error: ErrorInfo | None
    acknowledged_at: dt.datetime | None
    note: str
    created_at: dt.datetime
    finished_at: dt.datetime | None
    links: dict[str, str]


class ScheduleDocument(Document):
    """A schedule: when, what, against what; the next five fire times, and the newest run."""

    id: str
    name: str
    version: int
    cron: str | None
    every: int | None
    timezone: str
    words: str
    paused: bool
    next_fire_at: dt.datetime | None
    next_fires: list[FireTimeDocument]
    clock_change: str | None
    misfire: Misfire
    max_active: int
    target: dict[str, Any]
    verify: Verify
    sample_images: int
    tolerance: float
    gate: dict[str, Any] | None
    notify: list[str]
    reference_run: str | None
    last_run: ScheduleRunDocument | None
    created_at: dt.datetime
    updated_at: dt.datetime
    links: dict[str, str]


class MovedImage(Document):
    """An image that is answered otherwise than before by the same checkpoints: in some view, by its posterior."""

    image: str
    top1_before: str
    top1_now: str
    largest_difference: float


class MovedImagesDocument(Document):
    """Images whose answers moved between two runs; those with another top-1 first, then by the size of the move."""

    run: str
    images_compared: int
    moved: int
    top1_moved: int
    items: list[MovedImage]


class EnvironmentDifference(Document):
    """One thing that is not the same in two environments."""

    field: str
    before: list[Any]
    now: list[Any]


class EnvironmentDiffDocument(Document):
    """What two runs were not computed alike with."""

    base: str
    run: str
    differences: list[EnvironmentDifference]


class TrendPoint(Document):
    """One run on the way of an error over time."""

    run: str
    at: dt.datetime
    evaluation: str
    verdict: RunVerdict
    value: float
    low: float | None
    high: float | None
    n: int
    acknowledged: bool


class TrendDocument(Document):
    """An error over time, oldest first. A break stands where data set or request changed: numbers across it differ."""

    schedule: str
    metric: Metric
    points: list[TrendPoint]
    breaks: list[str]
