"""Scheduler and worker in one process, from the real functions: small enough to be run hundreds of times.

Imports torch and runs nothing of it, so a process that has imported this may fork.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sqlalchemy import select

from app import fault_points
from app.config import Settings
from app.db.models import LIVE_STATUSES, Dataset, Evaluation, RegistrationState
from app.errors import NameTakenError, ServiceError
from app.messaging import Doorbell
from app.representations.requests import DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import datasets, evaluations, predictions
from app.services.leasing import leases, recovery
from workers.context import WorkerContext, open_context
from workers.drain import drain
from workers.options import WorkerOptions
from workers.scheduler import Dispatcher

#: Exit status of a run in which the fault never came.
NOT_REACHED = 10
KEY = "once"
#: Reads one set that is known, one of whose files is damaged, and two that another evaluation wants as well.
REQUEST = EvaluationRequest(
    dataset="pictures",
    checkpoints=["a"],
    protocol={"scales": [34, 40], "modes": ["dense", "crops"], "crop_grid": 2},
)
SECOND_DATASET = "again"
#: MACs of a slice: some blocks of one view.
SLICE_MACS = 4e7


def run(environment: Mapping[str, str], images: str) -> None:
    """Do all there is to do, whatever goes wrong on the way, and leave; the entry point of a forked process.

    Args:
        environment: the service's variables, perhaps with SOFTVOTE_FAULT.
        images: a folder to register.
    """
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for good
    leases.BACK_OFF_SECONDS = 0.05
    runtime = build_runtime(Settings.from_environment(environment))
    dispatcher = Dispatcher(Doorbell(runtime.settings))
    context: WorkerContext | None = None
    handed_back = False
    while True:
        # Celery, the scheduler's supervisor and a client all do the same with an error: they come again.
        with suppress(OSError, ServiceError):
            if _submitted_and_ended(runtime, images):
                break
            if context is None:
                options = WorkerOptions(threads=1, slice_seconds=SLICE_MACS / 2e9)
                context = open_context(runtime, options, stopping=lambda: False)
            recovery.sweep(runtime.db)
            evaluations.advance_ready(runtime.db)
            dispatcher.dispatch(recovery.claimable(runtime.db), recovery.idle_workers(runtime.db), time.monotonic())
            if not handed_back:
                handed_back = True
                _lease_and_hand_back(runtime, context.worker_id)
            drain(context)
        time.sleep(0.02)
    if context is not None:
        with suppress(OSError):
            context.close()
    os._exit(NOT_REACHED if fault_points.is_armed() else 0)


def _submitted_and_ended(runtime: Runtime, images: str) -> bool:
    evaluations.submit(runtime.db, REQUEST, idempotency_key=KEY)
    with suppress(NameTakenError):
        request = DatasetRequest(path=images, name=SECOND_DATASET)
        datasets.request_registration(runtime.db, runtime.settings, request, trusted=True)
    with runtime.db.read() as session:
        live = session.scalars(select(Evaluation.id).where(Evaluation.status.in_(LIVE_STATUSES))).first()
        registering = select(Dataset.id).where(Dataset.state == RegistrationState.REGISTERING)
        return live is None and session.scalars(registering).first() is None


def _lease_and_hand_back(runtime: Runtime, worker_id: str) -> None:
    """What a worker does that is asked to stop in the middle of a slice."""
    slice_ = predictions.lease_slice(runtime.db, worker_id, SLICE_MACS, 1.0, runtime.settings.lease_seconds)
    if slice_ is not None:
        predictions.release_slice(runtime.db, slice_)
