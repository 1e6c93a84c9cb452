"""What a worker does when it is rung: lease, run, record, again, until nothing is left to lease."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from app.errors import DatabaseUnavailableError, LeaseLostError, StorageFullError
from app.fault_points import reach
from app.services import predictions, workers
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from workers import fuse, predict, register, scheduled
from workers.context import WorkerContext
from workers.failures import classify, leave_if_device_is_broken
from workers.heartbeat import HeldLease, StoppedError
from workers.logs import get_logger

log = get_logger(__name__)

#: Seconds between two looks whether a full disk has room again.
_STORAGE_PAUSE = 5.0

_HANDLERS: dict[str, Callable[[WorkerContext, ItemLease], None]] = {
    "register_checkpoint": register.register_checkpoint,
    "register_dataset": register.register_dataset,
    "import_predictions": register.import_predictions,
    "fuse": fuse.fuse_evaluation,
    "check_schedule_run": scheduled.check_schedule_run,
    "judge_schedule_run": scheduled.judge_schedule_run,
}


def drain(context: WorkerContext) -> None:
    """Work until nothing can be leased, the process is asked to stop, or it holds too much memory."""
    _set_state(context, "busy")
    try:
        # At least one piece of work in any case: a limit that is too low must not keep a worker from working at all.
        while not context.stopping() and work_once(context) and not context.is_full():
            pass
    except DatabaseUnavailableError as error:
        # Whatever was leased lapses; the dispatcher rings again when the database is back.
        log.warning("drain_interrupted", reason=str(error))
    finally:
        _set_state(context, "idle")


def work_once(context: WorkerContext) -> bool:
    """Lease one item or slice and do it; False when there is none.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    lease_seconds = context.runtime.settings.lease_seconds
    item = leases.lease_item(context.runtime.db, context.worker_id, context.options.queues, lease_seconds)
    if item is not None:
        reach("item_lease.after_commit")
        with structlog.contextvars.bound_contextvars(item=item.id, kind=item.kind, evaluation=item.evaluation_id):
            _run_item(context, item)
        return True
    if "predict" not in context.options.queues:
        return False
    slice_ = predictions.lease_slice(
        context.runtime.db,
        context.worker_id,
        context.rate.macs_per_second,
        context.options.slice_seconds,
        lease_seconds,
    )
    if slice_ is None:
        return False
    reach("lease.after_commit")
    try:
        predict.run_slice(context, slice_)
    except StorageFullError as error:
        _wait_for_room(context, error)
    return True


def _run_item(context: WorkerContext, item: ItemLease) -> None:
    db = context.runtime.db
    subject = item.evaluation_id or item.checkpoint_id or item.dataset_id
    log.info("item_starts")
    try:
        with context.heartbeat.holding([HeldLease("item", item.id, item.token)], f"{item.kind} {subject}"):
            _HANDLERS[item.kind](context, item)
    except LeaseLostError as error:
        log.warning("item_fenced", reason=str(error))
    except StoppedError:
        context.patiently(lambda: leases.release_item(db, item))
        log.info("item_released")
    except StorageFullError as error:
        context.patiently(lambda: leases.release_item(db, item))
        _wait_for_room(context, error)
    except DatabaseUnavailableError:
        raise
    except Exception as error:
        failure = classify(error)
        log.warning("item_failed", code=failure.code, reason=failure.message, exc_info=failure.code == "internal_error")
        context.patiently(
            lambda: leases.fail_item(db, item, failure.code, failure.message, retryable=failure.retryable)
        )
        leave_if_device_is_broken(error)
    else:
        log.info("item_done")


def _wait_for_room(context: WorkerContext, error: StorageFullError) -> None:
    """A full disk is nobody's failure: what was leased was handed back, and the worker waits."""
    log.warning("storage_full", reason=str(error))
    _set_state(context, "blocked")
    with context.heartbeat.holding((), f"waits: {error}"):
        while not context.stopping():
            context.pause(_STORAGE_PAUSE)
            if context.runtime.artifacts.free_bytes() > 2 * error.needed_bytes:
                break
    _set_state(context, "busy")


def _set_state(context: WorkerContext, state: str) -> None:
    try:
        context.patiently(lambda: workers.set_state(context.runtime.db, context.worker_id, state))
    except DatabaseUnavailableError as error:  # only while the process ends anyway
        log.warning("state_not_recorded", state=state, reason=str(error))
