"""A typed client of a Softvote server. It needs httpx and pydantic, and nothing of the service: no torch, no Flask."""

from softvote_client.client import Softvote
from softvote_client.documents import (
    Baseline,
    Checkpoint,
    Comparison,
    Dataset,
    Evaluation,
    EvaluationRow,
    Gate,
    Pair,
    Score,
)
from softvote_client.errors import (
    ApiError,
    ConflictError,
    EvaluationFailedError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    RegistrationFailedError,
    ServerFaultError,
    SoftvoteError,
    UnauthorizedError,
    UnreachableError,
    WaitTimeoutError,
)

__all__ = [
    "ApiError",
    "Baseline",
    "Checkpoint",
    "Comparison",
    "ConflictError",
    "Dataset",
    "Evaluation",
    "EvaluationFailedError",
    "EvaluationRow",
    "ForbiddenError",
    "Gate",
    "InvalidRequestError",
    "NotFoundError",
    "Pair",
    "RegistrationFailedError",
    "Score",
    "ServerFaultError",
    "Softvote",
    "SoftvoteError",
    "UnauthorizedError",
    "UnreachableError",
    "WaitTimeoutError",
]
