"""What an exception means for the work it ended: one table from class to code and whether another try can help."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from app.errors import ArtifactDamagedError, DatabaseUnavailableError, ServiceError
from ensembles.errors import EnsemblesError
from workers.logs import get_logger
from workers.self_checks import EXIT_BROKEN

log = get_logger(__name__)


@dataclass(frozen=True)
class Failure:
    """How a piece of work ended.

    Attributes:
        code: stable, listed in docs/errors.md.
        message: a sentence for people.
        retryable: whether the same work may succeed later although nobody changes anything.
    """

    code: str
    message: str
    retryable: bool


#: The first class that fits decides; without a code of its own here, the class's `code` and message are used.
#: What nobody foresaw is a fault of this program, which a second try would meet again.
_RULES: tuple[tuple[type[BaseException], str | None, bool], ...] = (
    (DatabaseUnavailableError, None, True),
    (ArtifactDamagedError, None, True),
    (ServiceError, None, False),
    (EnsemblesError, None, False),
    (torch.OutOfMemoryError, "out_of_memory", True),
    (MemoryError, "out_of_memory", True),
    (torch.AcceleratorError, "device_error", True),
    (OSError, "io_error", True),
    (RuntimeError, "runtime_error", True),
    (Exception, "internal_error", False),
)


def classify(error: Exception) -> Failure:
    """Code, message and retryability of `error`."""
    if is_out_of_memory(error):
        return Failure("out_of_memory", _with_class(error), retryable=True)
    for cls, code, retryable in _RULES:
        if isinstance(error, cls):
            if isinstance(error, ServiceError | EnsemblesError):
                return Failure(error.code, str(error), retryable)
            return Failure(code or "internal_error", _with_class(error), retryable)
    raise AssertionError(f"no rule for {type(error)}")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it might do with less in flight at once."""
    # The CPU's allocator raises a plain RuntimeError.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
    )


def leave_if_device_is_broken(error: BaseException) -> None:
    """End the process when its device is of no more use: after a failed kernel every later call fails too.

    The parent starts another process.
    """
    if isinstance(error, torch.AcceleratorError) and not isinstance(error, torch.OutOfMemoryError):
        log.error("device_broken", reason=str(error))
        os._exit(EXIT_BROKEN)


def _with_class(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
