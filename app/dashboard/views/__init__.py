"""The views: each reads through queries or calls one service, and renders. Importing them fills the blueprint."""

from app.dashboard.blueprint import blueprint
from app.dashboard.views import (
    account,
    answers,
    checkpoints,
    compare,
    datasets,
    ensembles,
    entrance,
    evaluations,
    gates,
    launch,
    overview,
    paper,
    schedules,
    tokens,
    users,
    webhooks,
    workers,
)

__all__ = [
    "account",
    "answers",
    "blueprint",
    "checkpoints",
    "compare",
    "datasets",
    "ensembles",
    "entrance",
    "evaluations",
    "gates",
    "launch",
    "overview",
    "paper",
    "schedules",
    "tokens",
    "users",
    "webhooks",
    "workers",
]
