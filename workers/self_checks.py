"""What a worker process looks for in itself, so that a person need not: ears that hear nothing, memory that only grows.

In both cases the process ends between two pieces of work, with nothing in its hands, and is started anew: by its
parent, by `softvote up`, or by whatever runs containers.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from app.messaging import BrokerUnavailableError, Doorbell
from workers.logs import get_logger

log = get_logger(__name__)

#: A process that cannot go on leaves with this status, and is started anew.
EXIT_BROKEN = 86

#: Looks into the broker within the time after which a worker is taken to be deaf.
_LOOKS = 6
#: The least that a deaf parent gets to end by itself before it is killed; it gets half of the patience.
_PARENT_SECONDS = 5.0


class BellWatch:
    """Finds out that the consumer no longer listens, as happened after broker restarts: bells lie there, nobody comes.

    Only a bell that waits while this worker idles counts. A broker that does not answer is no sign of deafness, and
    neither is work without a bell: then it is the scheduler that is missing.
    """

    def __init__(
        self,
        doorbell: Doorbell,
        queues: Sequence[str],
        *,
        patience: float,
        give_up: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing happens before `start`.

        Args:
            doorbell: to look into the broker with.
            queues: that the worker listens to.
            patience: seconds that a bell may wait.
            give_up: what to do then, given the reason; by default the whole worker is ended.
        """
        self._doorbell, self._queues, self._patience = doorbell, queues, patience
        self._give_up = give_up or self._end_worker
        self._unanswered_since: float | None = None
        self._busy = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bell-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Look no more; a look under way may last some seconds and is not waited for."""
        self._closed.set()

    def answered(self) -> None:
        """A bell was heard; the worker is busy until `idle`."""
        self._busy, self._unanswered_since = True, None

    def idle(self) -> None:
        """The worker waits for the next bell."""
        self._busy, self._unanswered_since = False, None

    def look(self, now: float) -> None:
        """One look.

        Args:
            now: monotonic seconds.
        """
        try:
            unanswered = not self._busy and self._doorbell.unanswered(self._queues) > 0
        except BrokerUnavailableError:
            unanswered = False
        if self._busy or not unanswered:
            self._unanswered_since = None
            return
        if self._unanswered_since is None:
            self._unanswered_since = now
        if now - self._unanswered_since >= self._patience:
            self._give_up(f"a doorbell has been waiting for {now - self._unanswered_since:.0f} s and was not heard")

    def _run(self) -> None:
        while not self._closed.wait(self._patience / _LOOKS):
            self.look(time.monotonic())

    def _end_worker(self, reason: str) -> None:
        """End the deaf parent and this child with it; nothing is in hand."""
        log.error("worker_deaf", reason=reason)
        parent = os.getppid()
        os.kill(parent, signal.SIGTERM)
        deadline = time.monotonic() + max(_PARENT_SECONDS, self._patience / 2)
        while time.monotonic() < deadline and os.getppid() == parent:
            time.sleep(0.2)
        if os.getppid() == parent:
            os.kill(parent, signal.SIGKILL)
        os._exit(EXIT_BROKEN)


def resident_bytes() -> int:
    """Memory that this process holds; 0 where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def memory_limit() -> int:
    """Bytes at which a worker starts anew by itself: nine tenths of what its container, or the machine, has."""
    available = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        granted = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
    except OSError:
        granted = "max"
    if granted.isdecimal():
        available = min(available, int(granted))
    return available * 9 // 10
