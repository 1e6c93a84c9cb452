"""Notices a clock that was put forward or back, so that no slot fires early or twice on its word."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable

#: Seconds by which a clock may drift from one look to the next before it counts as put forward or back.
TOLERANCE_SECONDS = 2.0
#: Seconds for which a clock that was put forward or back must run evenly before it is believed again.
STABLE_SECONDS = 60.0


class ClockGuard:
    """Compares a wall clock with one that only counts seconds.

    A host whose clock jumps ahead would otherwise fire what lies in the future: a process that is killed and started
    anew, or another host, would never fire it again. The time is mostly the database's; see `app.db.clock`.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._base: float | None = None
        self._stable_since: float | None = None

    def trusts(self, wall: dt.datetime) -> bool:
        """Whether `wall`, just read, goes on evenly from what was read before."""
        at = self._monotonic()
        offset = wall.timestamp() - at
        if self._base is None:
            self._base = offset
            return True
        if abs(offset - self._base) <= TOLERANCE_SECONDS:
            if self._stable_since is None:
                # Slow drift is followed.
                self._base = offset
                return True
            if at - self._stable_since < STABLE_SECONDS:
                return False
            self._stable_since, self._base = None, offset
            return True
        self._stable_since, self._base = at, offset
        return False
