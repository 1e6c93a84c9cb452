"""The thread of a scheduler that delivers webhooks. Any number of schedulers may."""

from __future__ import annotations

import threading
import time

from app.errors import ServiceError
from app.runtime import Runtime
from app.services.notifications import webhook_deliveries
from workers.logs import get_logger
from workers.webhook_sender import send_all

log = get_logger(__name__)

#: Seconds between two looks for what is due.
TICK_SECONDS = 0.5
#: Deliveries that are sent at once.
BATCH = 16
#: Seconds of rest after something nobody foresaw.
BROKEN_SECONDS = 10.0
_FORGET_SECONDS = 3600.0


def deliver(runtime: Runtime, stopping: threading.Event) -> None:
    """Deliver what is due until `stopping` is set. A dead database is waited for."""
    next_forget, failing = 0.0, None
    while not stopping.is_set():
        try:
            if time.monotonic() >= next_forget:
                webhook_deliveries.forget_old(runtime.db)
                next_forget = time.monotonic() + _FORGET_SECONDS
            if deliver_due(runtime):
                continue
            failing = None
        except ServiceError as error:
            if error.code != failing:
                log.warning("deliveries_wait", code=error.code, reason=str(error))
            failing = error.code
            stopping.wait(2.0)
        except Exception:
            # Whatever it is, other webhooks still want to be told; what was taken comes due again.
            log.exception("delivery_broke")
            stopping.wait(BROKEN_SECONDS)
        stopping.wait(TICK_SECONDS)


def deliver_due(runtime: Runtime) -> int:
    """One round: take what is due, send it, note what came of it; how many were tried."""
    attempts = webhook_deliveries.take(runtime.db, BATCH)
    if not attempts:
        return 0
    for attempt, outcome in zip(attempts, send_all(attempts, runtime.settings), strict=True):
        webhook_deliveries.settle(runtime.db, attempt, outcome)
        if not outcome.delivered:
            log.info(
                "not_delivered",
                delivery=attempt.id,
                webhook_event=attempt.event,
                attempt=attempt.number,
                status=outcome.status,
                reason=outcome.error,
            )
    return len(attempts)
