"""One thread a process: shows that the worker lives, keeps its leases, and hears what is no longer wanted."""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from app.db.session import Database
from app.errors import ServiceError
from app.services.leasing import leases
from workers.logs import get_logger
from workers.self_checks import EXIT_BROKEN

log = get_logger(__name__)

#: Without progress for so long, or for ten times the longest step so far, the process is taken to hang.
STALL_SECONDS = 120.0
#: After a request to stop, the step under way gets this long; the whole of a drain is promised within 20 s.
DRAIN_SECONDS = 15.0
#: After everything in hand was cancelled or lost, the step under way gets this long.
GONE_SECONDS = 30.0
#: A beat under way when the worker ends gets this long.
_CLOSE_SECONDS = 3.0


class StoppedError(Exception):
    """The work in hand must be handed back: the worker ends, or nobody wants it any more. No failure."""


@dataclass(frozen=True)
class HeldLease:
    """A lease as the heartbeat renews it."""

    kind: Literal["part", "item"]
    id: str
    token: int


class Heartbeat:
    """Renews the worker's row and the leases it holds, in short transactions of its own.

    The thread that works calls `moved` after every step; without it the leases are not renewed for ever: a kernel
    that hangs must not keep work from others.
    """

    def __init__(
        self,
        db: Database,
        worker_id: str,
        *,
        stopping: Callable[[], bool],
        rates: Callable[[], tuple[float | None, float | None]],
        lease_seconds: float = leases.LEASE_SECONDS,
        interval: float | None = None,
        stall_seconds: float = STALL_SECONDS,
        drain_seconds: float = DRAIN_SECONDS,
        gone_seconds: float = GONE_SECONDS,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            db: the thread takes connections of its own from it.
            worker_id: row to keep alive.
            stopping: whether the process was asked to stop.
            rates: images a second and MACs a second, as measured so far.
            lease_seconds: how long a renewal holds.
            interval: seconds between two beats; by default several come in the time of one lease.
            stall_seconds: see `STALL_SECONDS`.
            drain_seconds: see `DRAIN_SECONDS`.
            gone_seconds: see `GONE_SECONDS`.
            give_up: what to do with a process that hangs, given the reason; by default it ends at once.
        """
        self._db, self._worker_id = db, worker_id
        self._stopping, self._rates = stopping, rates
        self._lease_seconds, self._interval = lease_seconds, interval or lease_seconds / leases.BEATS_PER_LEASE
        self._stall_seconds, self._drain_seconds = stall_seconds, drain_seconds
        self._give_up = give_up or _leave
        self._lock = threading.Lock()
        self._held: tuple[HeldLease, ...] = ()
        self._gone: frozenset[str] = frozenset()
        self._doing: str | None = None
        self._last_move = self._longest_step = 0.0
        self._stop_seen: float | None = None
        self._gone_seen: float | None = None
        self._gone_seconds = gone_seconds
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def close(self) -> None:
        """End the thread; the worker's row is left as it is. One that hangs does not keep the process from ending."""
        self._closed.set()
        self._thread.join(_CLOSE_SECONDS)

    @contextmanager
    def holding(self, held: Sequence[HeldLease], doing: str) -> Iterator[None]:
        """Renew these leases until the block ends.

        Args:
            held: what the block works on.
            doing: one line for the page of workers.
        """
        with self._lock:
            self._held, self._gone, self._doing = tuple(held), frozenset(), doing
            self._last_move, self._longest_step = time.monotonic(), 0.0
        try:
            yield
        finally:
            with self._lock:
                self._held, self._doing = (), None

    def let_go(self, ids: Collection[str]) -> None:
        """These leases have come to an end: they are renewed no longer, and their absence is no news."""
        with self._lock:
            self._held = tuple(lease for lease in self._held if lease.id not in ids)

    def moved(self) -> None:
        """A step is done."""
        now = time.monotonic()
        with self._lock:
            self._longest_step = max(self._longest_step, now - self._last_move)
            self._last_move = now

    def step(self) -> None:
        """`moved`, for work that is not asked whether it should stop.

        Raises:
            StoppedError: it should.
        """
        self.moved()
        if self.should_stop():
            raise StoppedError

    def should_stop(self) -> bool:
        """Whether the work in hand is pointless or must be handed back: asked between two steps."""
        if self._stopping():
            return True
        with self._lock:
            return bool(self._held) and all(lease.id in self._gone for lease in self._held)

    def gone(self) -> frozenset[str]:
        """Ids among the held leases that went to another worker, or that nobody wants any more."""
        with self._lock:
            return self._gone

    def beat(self) -> None:
        """One renewal.

        Raises:
            ServiceError: the database does not answer.
        """
        with self._lock:
            held = [lease for lease in self._held if lease.id not in self._gone]
            doing = self._doing
        images_per_second, macs_per_second = self._rates()
        answer = leases.renew(
            self._db,
            self._worker_id,
            [(lease.kind, lease.id, lease.token) for lease in held],
            doing,
            images_per_second,
            macs_per_second,
            self._lease_seconds,
        )
        with self._lock:
            # What ended while the answer was under way is gone for a better reason.
            still_held = {lease.id for lease in self._held}
            lost, unwanted = answer.lost & still_held, answer.unwanted & still_held
            self._gone |= lost | unwanted
        if lost or unwanted:
            log.info("leases_gone", worker=self._worker_id, lost=sorted(lost), unwanted=sorted(unwanted))

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            self._check_movement()
            try:
                self.beat()
            except ServiceError as error:
                # The lease may lapse meanwhile; its token then keeps a late result out.
                log.warning("heartbeat_failed", worker=self._worker_id, code=error.code, reason=str(error))
            except Exception as error:
                # A worker without a heartbeat would lose every lease from now on, and nobody would know why.
                self._give_up(f"the heartbeat failed ({type(error).__name__}: {error})")

    def _check_movement(self) -> None:
        now = time.monotonic()
        with self._lock:
            held, idle_for = self._held, now - self._last_move
            patience = max(self._stall_seconds, 10 * self._longest_step)
            if not (held and all(lease.id in self._gone for lease in held)):
                self._gone_seen = None
            elif self._gone_seen is None:
                self._gone_seen = now
            gone_for = 0.0 if self._gone_seen is None else now - self._gone_seen
        if not held:
            self._stop_seen = None
        elif gone_for > self._gone_seconds:
            self._give_up(f"a step did not end within {self._gone_seconds:.0f} s although nobody wants it any more")
        elif idle_for > patience:
            self._give_up(f"no progress for {idle_for:.0f} s")
        elif self._stopping():
            self._stop_seen = self._stop_seen or now
            if now - self._stop_seen > self._drain_seconds:
                self._give_up(f"a step did not end within {self._drain_seconds:.0f} s of the request to stop")


def _leave(reason: str) -> None:
    """End the process where it stands; its leases lapse as those of a crashed one."""
    log.error("worker_stuck", reason=reason)
    faulthandler.dump_traceback()
    os._exit(EXIT_BROKEN)
