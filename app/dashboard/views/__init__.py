"""The views: each reads through queries or calls one service, and renders. Importing them fills the blueprint."""

from app.dashboard.blueprint import blueprint
from app.dashboard.views import (
    answers,
    checkpoints,
    compare,
    datasets,
    evaluations,
    gates,
    launch,
    overview,
    paper,
    workers,
)

__all__ = [
    "answers",
    "blueprint",
    "checkpoints",
    "compare",
    "datasets",
    "evaluations",
    "gates",
    "launch",
    "overview",
    "paper",
    "workers",
]
