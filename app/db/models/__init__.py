"""The tables: columns, constraints and relationships only. Vocabulary: docs/architecture.md.

A module holds the tables of one subject; all are imported here, so that metadata is complete wherever one is used.
"""

from app.db.base import LeaseState
from app.db.models.access import ApiToken, RateWindow, SetupLink, User, UserSession
from app.db.models.catalogue import Checkpoint, Dataset, RegistrationState
from app.db.models.ensembles import Ensemble, SavedMember
from app.db.models.evaluations import (
    LIVE_STATUSES,
    PRIORITIES,
    Evaluation,
    EvaluationMember,
    EvaluationOutcomes,
    EvaluationSet,
    EvaluationStatus,
    Score,
)
from app.db.models.gates import Baseline, Gate
from app.db.models.idempotency import IdempotencyKey
from app.db.models.operations import Event, Worker, WorkItem
from app.db.models.predictions import PredictionPart, PredictionSet
from app.db.models.schedules import LIVE_RUNS, CheckpointVersion, RunState, Schedule, ScheduleRun
from app.db.models.webhooks import DeliveryState, Webhook, WebhookDelivery

__all__ = [
    "LIVE_RUNS",
    "LIVE_STATUSES",
    "PRIORITIES",
    "ApiToken",
    "Baseline",
    "Checkpoint",
    "CheckpointVersion",
    "Dataset",
    "DeliveryState",
    "Ensemble",
    "Evaluation",
    "EvaluationMember",
    "EvaluationOutcomes",
    "EvaluationSet",
    "EvaluationStatus",
    "Event",
    "Gate",
    "IdempotencyKey",
    "LeaseState",
    "PredictionPart",
    "PredictionSet",
    "RateWindow",
    "RegistrationState",
    "RunState",
    "SavedMember",
    "Schedule",
    "ScheduleRun",
    "Score",
    "SetupLink",
    "User",
    "UserSession",
    "Webhook",
    "WebhookDelivery",
    "WorkItem",
    "Worker",
]
