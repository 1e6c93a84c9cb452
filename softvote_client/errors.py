"""What a client can meet. The server's own words are kept: `code` is the stable one to branch on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from softvote_client.documents import Checkpoint, Dataset, Evaluation


class SoftvoteError(Exception):
    """Root of the client's errors."""


class UnreachableError(SoftvoteError):
    """Nothing answers at the address, or what answers is no Softvote server."""


class ApiError(SoftvoteError):
    """The server refused.

    Attributes:
        status: of HTTP.
        code: the stable word, as docs/errors.md lists it.
        detail: one sentence.
        problem: the whole problem document (RFC 9457); `errors` in it name fields.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code") or f"http_{status}")
        self.detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
        fields = "".join(f"\n  {item['pointer']}: {item['message']}" for item in self.problem.get("errors") or ())
        super().__init__(f"{self.detail} [{self.code}]{fields}")


class InvalidRequestError(ApiError):
    """Something in the request breaks a rule; `problem["errors"]` says what."""


class UnauthorizedError(ApiError):
    """No token, or one that the server does not know."""


class ForbiddenError(ApiError):
    """The token may not do this."""


class NotFoundError(ApiError):
    """There is no such thing."""


class ConflictError(ApiError):
    """The present state does not allow it: a name that is taken, an evaluation that has not ended."""


class ServerFaultError(ApiError):
    """The server is at fault, not the request."""


class WaitTimeoutError(SoftvoteError, TimeoutError):
    """What was waited for has not come in the time that was given; it goes on."""


class EvaluationFailedError(SoftvoteError):
    """An evaluation that was waited for failed, or was cancelled."""

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        why = f": {evaluation.error.message} [{evaluation.error.code}]" if evaluation.error else ""
        super().__init__(f"evaluation {evaluation.id} {evaluation.status}{why}")


class RegistrationFailedError(SoftvoteError):
    """A checkpoint or data set that was waited for could not be read."""

    def __init__(self, registered: Checkpoint | Dataset) -> None:
        self.registered = registered
        why = f": {registered.error.message} [{registered.error.code}]" if registered.error else ""
        super().__init__(f"{registered.name} could not be registered{why}")


def error_of(status: int, problem: Mapping[str, Any]) -> ApiError:
    """The error for a refusal."""
    return _CLASSES.get(status, ServerFaultError if status >= 500 else ApiError)(status, problem)


_CLASSES: dict[int, type[ApiError]] = {
    400: InvalidRequestError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidRequestError,
}
