"""The only map from error class to HTTP status, and the RFC 9457 document that answers every failed request."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import ClassVar

from flask import Response, request
from werkzeug.exceptions import HTTPException, NotFound

import app.errors as service
import ensembles.errors as library
from app.messaging import BrokerUnavailableError
from app.representations.problems import ProblemDocument, ProblemItem
from ensembles.errors import Problem

logger = logging.getLogger(__name__)

#: Seconds after which a client may ask again when the service cannot answer now.
RETRY_SECONDS = 5

#: Characters of one message; a request of 1 MB is not echoed back whole.
MAX_MESSAGE = 1000


class RequestRefusedError(service.ServiceError):
    """Root of what is refused before anything is looked at."""

    code: ClassVar[str] = "request_refused"


class ForeignHostError(RequestRefusedError):
    """A Host header that is not this server's: another site's name was pointed at this address (DNS rebinding)."""

    code = "foreign_host"

    def __init__(self, host: str, allowed: Iterable[str]) -> None:
        self.host, self.allowed = host, tuple(allowed)
        super().__init__(f"Host: one of {', '.join(self.allowed)} is needed; got {host!r}")


class CrossSiteError(RequestRefusedError):
    """A browser sent the request on behalf of another site."""

    code = "cross_site_request"

    def __init__(self, header: str, value: str) -> None:
        self.header, self.value = header, value
        super().__init__(f"{header}: a request that changes something must come from this site; got {value!r}")


class JsonRequiredError(RequestRefusedError):
    """A POST or PATCH that does not say it carries JSON; browsers would send other types without asking first."""

    code = "json_required"

    def __init__(self, found: str) -> None:
        self.found = found
        super().__init__(f"Content-Type: application/json is needed, also with an empty body; got {found!r}")


class MalformedJsonError(RequestRefusedError):
    """A body that is not JSON."""

    code = "malformed_json"

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"the body must be JSON: {reason}")


class PreconditionRequiredError(RequestRefusedError):
    """An edit without If-Match, which could undo somebody else's unseen."""

    code = "precondition_required"

    def __init__(self) -> None:
        super().__init__("If-Match: the ETag of the version that was seen is needed, or * for whichever it is")


STATUSES: dict[type[Exception], HTTPStatus] = {
    # What the request's author can mend.
    RequestRefusedError: HTTPStatus.BAD_REQUEST,
    ForeignHostError: HTTPStatus.BAD_REQUEST,
    MalformedJsonError: HTTPStatus.BAD_REQUEST,
    CrossSiteError: HTTPStatus.FORBIDDEN,
    service.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    service.WrongLoginError: HTTPStatus.UNAUTHORIZED,
    service.ForbiddenError: HTTPStatus.FORBIDDEN,
    service.RateLimitedError: HTTPStatus.TOO_MANY_REQUESTS,
    JsonRequiredError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    PreconditionRequiredError: HTTPStatus.PRECONDITION_REQUIRED,
    service.PreconditionFailedError: HTTPStatus.PRECONDITION_FAILED,
    service.PathForbiddenError: HTTPStatus.BAD_REQUEST,
    service.NotFoundError: HTTPStatus.NOT_FOUND,
    service.SetupLinkError: HTTPStatus.NOT_FOUND,
    service.NameTakenError: HTTPStatus.CONFLICT,
    service.NotReadyError: HTTPStatus.CONFLICT,
    service.InUseError: HTTPStatus.CONFLICT,
    service.LastAdminError: HTTPStatus.CONFLICT,
    service.StateConflictError: HTTPStatus.CONFLICT,
    service.IdempotencyConflictError: HTTPStatus.CONFLICT,
    service.LeaseLostError: HTTPStatus.CONFLICT,
    service.OutcomesMissingError: HTTPStatus.CONFLICT,
    service.CheckpointReplacedError: HTTPStatus.CONFLICT,
    service.InvalidRequestError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.SpecError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.UnknownNameError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.ScaleTooSmallError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.TrainingScaleMissingError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.DenseUnsupportedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.ClassCountMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    service.NothingToScoreError: HTTPStatus.UNPROCESSABLE_ENTITY,
    service.SearchTooLargeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.EmptyDatasetError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.ClassNamesMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.DatasetProblemsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.DatasetFormatError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.UnreadableImageError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.DecoderMissingError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.DatasetChangedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointCorruptError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointUnsafeError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointUnrecognisedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointChangedError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.CheckpointMissingError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.ArchitectureMismatchError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.WeightsUnavailableError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.NonFiniteWeightsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.NonFiniteOutputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.NonFiniteProbsError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.PosteriorsFormatError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.PredictionsFileError: HTTPStatus.UNPROCESSABLE_ENTITY,
    library.PredictionStoppedError: HTTPStatus.CONFLICT,
    # What the operator can mend.
    service.DatabaseUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    service.SchemaOutdatedError: HTTPStatus.SERVICE_UNAVAILABLE,
    BrokerUnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    service.StorageFullError: HTTPStatus.INSUFFICIENT_STORAGE,
    service.DatabaseDamagedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    service.ArtifactDamagedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    service.ImportDamagedError: HTTPStatus.INTERNAL_SERVER_ERROR,
    service.ConfigurationError: HTTPStatus.INTERNAL_SERVER_ERROR,
    service.ServiceError: HTTPStatus.INTERNAL_SERVER_ERROR,
    library.EnsemblesError: HTTPStatus.INTERNAL_SERVER_ERROR,
}

#: Codes of the answers that the web framework gives by itself.
HTTP_CODES: dict[int, str] = {
    400: "bad_request",
    404: "unknown_route",
    405: "method_not_allowed",
    413: "body_too_large",
    500: "internal_error",
}


def status_of(error_class: type[BaseException]) -> HTTPStatus:
    """The status of an error class: its own, or that of its nearest ancestor in the map; 500 for anything else."""
    found = (STATUSES[ancestor] for ancestor in error_class.__mro__ if ancestor in STATUSES)
    return next(found, HTTPStatus.INTERNAL_SERVER_ERROR)


def problem_of(error: BaseException) -> ProblemDocument:
    """The document for an error. What nobody foresaw says nothing of itself; the log has it."""
    if isinstance(error, HTTPException):
        status = error.code or 500
        detail = f"nothing is at {request.path}" if isinstance(error, NotFound) else error.description or error.name
        return _document(HTTP_CODES.get(status, f"http_{status}"), status, detail)
    if isinstance(error, service.ServiceError | library.EnsemblesError):
        return _document(error.code, status_of(type(error)), str(error), _items(error))
    return _document(HTTP_CODES[500], 500, "an unforeseen error; the server's log has it")


def problem_response(error: BaseException) -> Response:
    """The answer to a failed request; errors that are the service's own are logged with their trace."""
    problem = problem_of(error)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s", problem.code, exc_info=error)
    response = Response(problem.model_dump_json(), problem.status, mimetype="application/problem+json")
    if isinstance(error, HTTPException):
        # Allow of 405, Retry-After of 429 and 503.
        response.headers.extend(
            (name, value) for name, value in error.get_headers() if name.lower() not in ("content-type",)
        )
    elif isinstance(error, service.RateLimitedError):
        response.headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, service.UnauthenticatedError):
        response.headers["WWW-Authenticate"] = 'Bearer realm="softvote"'
    elif problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(RETRY_SECONDS)
    return response


def _document(code: str, status: int, detail: str, items: list[ProblemItem] | None = None) -> ProblemDocument:
    return ProblemDocument(
        type=f"/api/docs#{code}",
        title=_title(code),
        status=status,
        detail=_clipped(detail),
        code=code,
        errors=items or [],
    )


def _title(code: str) -> str:
    words = " ".join("JSON" if word == "json" else word for word in code.split("_"))
    return words[0].upper() + words[1:]


def _items(error: service.ServiceError | library.EnsemblesError) -> list[ProblemItem]:
    problems: Iterable[Problem] = getattr(error, "problems", ())
    items = [_item(problem.field, problem.code, str(problem)) for problem in problems]
    field = getattr(error, "field", None)
    return items if items or not isinstance(field, str) else [_item(field, error.code, str(error))]


def _item(field: str, code: str, message: str) -> ProblemItem:
    """The pointer already says which field."""
    return ProblemItem(pointer=_pointer(field), code=code, message=_clipped(message.removeprefix(f"{field}: ")))


def _pointer(field: str) -> str:
    """RFC 6901 from a dotted path; the empty pointer is the whole body."""
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in field.split(".") if part)


def _clipped(message: str) -> str:
    return message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
