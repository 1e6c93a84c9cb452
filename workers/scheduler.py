"""The dispatcher and sweeper: notices dead workers, moves evaluations on, rings idle workers, fires schedules.

Any number may run.
"""

from __future__ import annotations

import threading
import time
from dataclasses import asdict, dataclass

from app.errors import ServiceError
from app.messaging import QUEUES, BrokerUnavailableError, Doorbell
from app.runtime import Runtime
from app.services import collection
from app.services.leasing import recovery
from app.services.scheduling import firing, schedule_runs
from app.services.scheduling.clock_guard import ClockGuard
from workers.deliveries import deliver
from workers.logs import get_logger

log = get_logger(__name__)

#: Seconds between two looks for claimable work: what a person waits at most before a worker hears of a request.
TICK_SECONDS = 0.25
#: Seconds between two sweeps for lapsed leases.
SWEEP_SECONDS = 2.5
#: Seconds between two looks for files that no row names.
COLLECT_SECONDS = 3600.0
#: A ring may be lost, so it is repeated; ever more rarely while nothing changes, as for a worker that is stuck.
_FIRST_REPEAT_SECONDS, _LAST_REPEAT_SECONDS = 2.0, 30.0


@dataclass
class _QueueState:
    """What a queue looked like when it was rung last, and when to ring again if it still does."""

    seen: tuple[int, int] = (0, 0)
    ring_at: float = 0.0
    repeat_seconds: float = _FIRST_REPEAT_SECONDS


class Dispatcher:
    """Rings idle workers of queues that have work.

    Each piece of work on "fuse" needs one worker. On "predict" an evaluation counts once and may have slices for any
    number of workers, so all idle ones are rung; whoever comes too late finds nothing, and that is all.
    """

    def __init__(self, doorbell: Doorbell) -> None:
        self._doorbell = doorbell
        self._queues = {queue: _QueueState() for queue in QUEUES}

    def dispatch(self, claimable: dict[str, int], idle: dict[str, int], now: float) -> int:
        """Ring where there is work and someone to do it.

        Args:
            claimable: work a queue.
            idle: workers that listen to a queue and do nothing.
            now: monotonic seconds.

        Returns:
            The number of rings.

        Raises:
            BrokerUnavailableError: the broker does not answer; the next call tries again.
        """
        rings = 0
        for queue, state in self._queues.items():
            seen = (claimable.get(queue, 0), idle.get(queue, 0))
            if seen != state.seen:
                state.seen, state.ring_at, state.repeat_seconds = seen, now, _FIRST_REPEAT_SECONDS
            if min(seen) == 0 or now < state.ring_at:
                continue
            state.ring_at = now + state.repeat_seconds
            state.repeat_seconds = min(2 * state.repeat_seconds, _LAST_REPEAT_SECONDS)
            for _ in range(seen[1] if queue == "predict" else min(seen)):
                self._doorbell.ring(queue)
                rings += 1
        return rings


def run_scheduler(runtime: Runtime, stopping: threading.Event) -> None:
    """Sweep and dispatch until `stopping` is set. A dead database or broker is waited for."""
    doorbell = Doorbell(runtime.settings)
    dispatcher = Dispatcher(doorbell)
    clock, next_sweep, failing = ClockGuard(), 0.0, None
    # A walk through a large store takes minutes; nobody may wait for its end, workers least of all.
    threading.Thread(target=_collect_hourly, args=(runtime, stopping), name="collection", daemon=True).start()
    # Receivers may be slow, and dispatching must not wait for them.
    threading.Thread(target=deliver, args=(runtime, stopping), name="deliveries", daemon=True).start()
    log.info("scheduler_starts")
    try:
        while not stopping.is_set():
            try:
                if time.monotonic() >= next_sweep:
                    _sweep(runtime)
                    next_sweep = time.monotonic() + SWEEP_SECONDS
                    schedule_runs.advance(runtime.db)
                fired = firing.fire_due(runtime.db, clock)
                if fired:
                    log.info("schedules_fired", runs=fired)
                claimable = recovery.claimable(runtime.db)
                idle = recovery.idle_workers(runtime.db) if any(claimable.values()) else {}
                dispatcher.dispatch(claimable, idle, time.monotonic())
                failing = None
            except ServiceError as error:
                if error.code != failing:
                    log.warning("scheduler_waits", code=error.code, reason=str(error))
                failing = error.code
                stopping.wait(1.0 if isinstance(error, BrokerUnavailableError) else 2.0)
            stopping.wait(TICK_SECONDS)
    finally:
        doorbell.close()
        log.info("scheduler_stops")


def _sweep(runtime: Runtime) -> None:
    report = recovery.sweep(runtime.db)
    if report.vanished or report.expired:
        log.info("leases_swept", vanished=report.vanished, expired=report.expired)


def _collect_hourly(runtime: Runtime, stopping: threading.Event) -> None:
    while not stopping.wait(COLLECT_SECONDS):
        try:
            report = collection.collect(runtime.db, runtime.artifacts)
        except (ServiceError, OSError) as error:
            log.warning("files_not_collected", reason=str(error))
            continue
        if report.files or report.unfinished:
            log.info("files_collected", **asdict(report))
