"""The worker's code in the calling process, with no broker: what `evaluate --local` and `checkpoint add` use.

Found by the command line through the entry point group `softvote.local`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from app.db.models import LIVE_STATUSES, RegistrationState
from app.db.queries import checkpoints as checkpoint_queries
from app.db.queries import datasets as dataset_queries
from app.db.queries import evaluations as evaluation_queries
from app.representations.catalogue import CheckpointDocument, DatasetDocument
from app.representations.predictions import PredictionsRequest
from app.representations.requests import CheckpointRequest, DatasetRequest
from app.runtime import Runtime
from app.services import checkpoints, datasets, evaluations, imports, workers
from app.services.leasing import recovery
from workers.context import WorkerContext, open_context
from workers.devices import describe_devices
from workers.drain import work_once
from workers.logs import configure_logs
from workers.options import WorkerOptions
from workers.published_weights import find_published_weights

__all__ = [
    "describe_devices",
    "find_published_weights",
    "import_predictions_now",
    "register_checkpoint_now",
    "register_dataset_now",
    "run_until_done",
]

#: Seconds between two looks at work that another worker has in hands.
_POLL_SECONDS = 0.25
_OPTIONS = WorkerOptions(name="local")


def register_checkpoint_now(runtime: Runtime, request: CheckpointRequest) -> CheckpointDocument:
    """Read a weights file and register it.

    Returns:
        The checkpoint, `ready`, or `failed` with its error.

    Raises:
        ServiceError: the request breaks a rule, or the name is taken.
    """
    checkpoint_id = checkpoints.request_registration(runtime.db, runtime.settings, request, trusted=True)

    def read() -> CheckpointDocument:
        with runtime.db.read() as session:
            return checkpoint_queries.get(session, checkpoint_id)

    _work_until(runtime, lambda: read().state != RegistrationState.REGISTERING)
    return read()


def import_predictions_now(runtime: Runtime, request: PredictionsRequest) -> CheckpointDocument:
    """Read a file of predictions and register it; otherwise as `register_checkpoint_now`."""
    checkpoint_id = imports.request_import(runtime.db, runtime.settings, request, trusted=True)

    def read() -> CheckpointDocument:
        with runtime.db.read() as session:
            return checkpoint_queries.get(session, checkpoint_id)

    _work_until(runtime, lambda: read().state != RegistrationState.REGISTERING)
    return read()


def register_dataset_now(runtime: Runtime, request: DatasetRequest) -> DatasetDocument:
    """Scan a folder and register it; otherwise as `register_checkpoint_now`."""
    dataset_id = datasets.request_registration(runtime.db, runtime.settings, request, trusted=True)

    def read() -> DatasetDocument:
        with runtime.db.read() as session:
            return dataset_queries.get(session, dataset_id)

    _work_until(runtime, lambda: read().state != RegistrationState.REGISTERING)
    return read()


def run_until_done(
    runtime: Runtime,
    evaluation_id: str,
    progress: Callable[[int, int], None] | None = None,
    options: WorkerOptions = _OPTIONS,
) -> None:
    """Predict and fuse until the evaluation has ended, one way or another.

    Other work that waits in the same database has its turn, as in any worker; other workers may take part.

    Args:
        runtime: the local database and its artifacts.
        evaluation_id: what is waited for.
        progress: called with image-views (done, total) after each step.
        options: device, threads and the like.
    """

    def ended() -> bool:
        with runtime.db.read() as session:
            document = evaluation_queries.get(session, evaluation_id)
        if progress is not None:
            progress(document.progress.done, document.progress.total)
        return document.status not in LIVE_STATUSES

    _work_until(runtime, ended, options)


def _work_until(runtime: Runtime, done: Callable[[], bool], options: WorkerOptions = _OPTIONS) -> None:
    with _context(runtime, options) as context:
        while not done():
            if not work_once(context):
                # Nobody else may be there to notice a worker that died with our work in its hands.
                recovery.sweep(runtime.db)
                evaluations.advance_ready(runtime.db)
                time.sleep(_POLL_SECONDS)


@contextmanager
def _context(runtime: Runtime, options: WorkerOptions) -> Iterator[WorkerContext]:
    if not structlog.is_configured():
        configure_logs(level=logging.WARNING)
    context = open_context(runtime, options, stopping=lambda: False)
    try:
        # Never idle: the dispatcher must not ring for it.
        workers.set_state(runtime.db, context.worker_id, "busy")
        yield context
    finally:
        context.close()
