"""Webhooks, their deliveries, and what is sent."""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from app.representations.base import Document, ErrorInfo, Request
from app.representations.evaluations import ScoreDocument
from app.representations.requests import Notes


class WebhookEvent(StrEnum):
    """What a webhook can be told of."""

    EVALUATION_FINISHED = "evaluation.finished"
    EVALUATION_FAILED = "evaluation.failed"
    GATE_PASSED = "gate.pass"
    GATE_FAILED = "gate.fail"
    GATE_INCONCLUSIVE = "gate.inconclusive"
    SCHEDULE_DRIFT = "schedule.drift"
    SCHEDULE_MODEL_CHANGE = "schedule.model_change"
    SCHEDULE_REGRESSION = "schedule.regression"
    SCHEDULE_DATASET_CHANGED = "schedule.dataset_changed"
    SCHEDULE_FAILED = "schedule.failed"


#: Sent when somebody asks for it, to whoever it was asked for.
PING = "ping"


class WebhookRequest(Request):
    """Tell an address of events. The answer holds the secret that deliveries are signed with; it is not shown again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://ci.example.org/softvote", "events": ["evaluation.finished", "gate.fail"]}]
        }
    )

    url: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[\x21-\x7e]+$")]
    # Strict JSON has no enumerations: names are matched by their values.
    events: list[Annotated[WebhookEvent, Field(strict=False)]] = Field(min_length=1, max_length=len(WebhookEvent))
    note: Notes = ""


class WebhookDocument(Document):
    """An address, and what it is told of."""

    id: str
    url: str
    events: list[str]
    note: str
    created_at: dt.datetime
    links: dict[str, str]


class CreatedWebhookDocument(WebhookDocument):
    """A new webhook with its secret, which is shown this once."""

    secret: str


class DeliveryDocument(Document):
    """One event for one webhook: `status` is the HTTP status of the last attempt, `error` why it did not succeed.

    `due_at` is when it is tried next, null once it is over.
    """

    id: str
    event: str
    state: Literal["pending", "delivered", "dead"]
    attempts: int
    status: int | None
    error: str | None
    created_at: dt.datetime
    due_at: dt.datetime | None
    ended_at: dt.datetime | None


class EventDocument(Document):
    """The body of a delivery: what happened when, and to what."""

    # The same for every attempt: whoever sees it twice was told twice.
    delivery: str
    event: str
    created_at: dt.datetime
    data: dict[str, Any]


class EndedEvaluationDocument(Document):
    """What a webhook is told of an evaluation; its address has the rest.

    `scores` are those of the ensemble, or of the only member; none where it failed.
    """

    id: str
    status: str
    dataset: str
    checkpoints: list[str]
    images: int
    error: ErrorInfo | None
    scores: list[ScoreDocument]
    links: dict[str, str]


class PingDocument(Document):
    """The delivery that was written down."""

    delivery: str
