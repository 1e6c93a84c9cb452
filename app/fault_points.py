"""Named places where a failure can be provoked: for tests that break the service at every step, never for operation.

`SOFTVOTE_FAULT=point:n` fails when the process comes by the point for the n-th time, and then no more:

* `raise` (the default): an `OSError` with errno EIO, as from a failing disk or connection;
* `exit`: the process ends at once, as if killed;
* `hang`: the calling thread never goes on.
"""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass

#: Every name that `reach` is called with, in the order in which an evaluation comes by.
POINTS = (
    "submit.before_commit",
    "submit.after_commit",
    "worker.before_sign_on",
    "worker.after_sign_on",
    "doorbell.before_ring",
    "doorbell.after_ring",
    "sweep.before_vanished_commit",
    "sweep.before_expire_commit",
    "sweep.after_expire_commit",
    "lease.before_commit",
    "lease.after_commit",
    "item_lease.before_commit",
    "item_lease.after_commit",
    "heartbeat.before_commit",
    "heartbeat.after_commit",
    "artifact.before_write",
    "artifact.before_fsync",
    "artifact.after_fsync",
    "artifact.after_rename",
    "artifact.after_folder_fsync",
    "complete.before_commit",
    "complete.after_commit",
    "release.before_commit",
    "advance.before_commit",
    "advance.after_commit",
    "fuse.before_scoring",
    "fuse.after_block",
    "reopen.before_commit",
    "finish_item.before_commit",
    "finish_item.after_commit",
    "worker.before_sign_off",
)
KINDS = ("raise", "exit", "hang")
#: Status of a process that was made to end.
EXIT_STATUS = 77


@dataclass
class _Fault:
    """One failure that is to come."""

    point: str
    calls_left: int
    kind: str


_armed: _Fault | None = None
_lock = threading.Lock()


def reach(point: str) -> None:
    """Fail here if this was asked for; otherwise nothing.

    Raises:
        OSError: it was.
    """
    if _armed is not None:
        _reach_armed(point)


def arm(fault: str | None) -> None:
    """Prepare one failure of this process in place of any other; None for none.

    Args:
        fault: "point:n" or "point:n:kind", with no `broken_rule`.
    """
    global _armed  # noqa: PLW0603 - one process, one fault; `reach` must cost nothing
    if fault is None:
        _armed = None
        return
    point, count, *kind = fault.split(":")
    _armed = _Fault(point, int(count), kind[0] if kind else "raise")


def is_armed() -> bool:
    """Whether the failure is still to come."""
    return _armed is not None


def broken_rule(fault: str) -> str | None:
    """What is wrong with the text of a fault; None when nothing is."""
    point, _, rest = fault.partition(":")
    count, _, kind = rest.partition(":")
    if point not in POINTS:
        return f"POINT:N or POINT:N:KIND with a point among {', '.join(POINTS)}"
    if not count.isdecimal() or int(count) < 1:
        return "POINT:N or POINT:N:KIND, N a number of calls from 1"
    if ":" in rest and kind not in KINDS:
        return f"POINT:N or POINT:N:KIND with a kind among {', '.join(KINDS)}"
    return None


def _reach_armed(point: str) -> None:
    global _armed  # noqa: PLW0603 - as in `arm`
    with _lock:
        fault = _armed
        if fault is None or fault.point != point:
            return
        fault.calls_left -= 1
        if fault.calls_left:
            return
        _armed = None
    if fault.kind == "exit":
        os._exit(EXIT_STATUS)
    if fault.kind == "hang":
        threading.Event().wait()
    raise OSError(errno.EIO, f"provoked at {point}")
