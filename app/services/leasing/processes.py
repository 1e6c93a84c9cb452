"""Which process is meant by a pid, told from /proc: pids are used again, a pid with its start time never is."""

from __future__ import annotations

import socket
from pathlib import Path


def host() -> str:
    """This host's name."""
    return socket.gethostname()


def boot_id() -> str:
    """What two processes share if each can see the other's pid: one boot of one kernel, one pid namespace.

    Empty where /proc does not tell.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Containers share the kernel and not the pids: without this, each would take the other's workers for dead.
        namespace = Path("/proc/self/ns/pid").readlink().name
    except OSError:
        return ""
    return f"{boot}:{namespace.strip('pid:[]')}"


def start_ticks(pid: int) -> int | None:
    """Clock ticks since boot at which the process began; None when it is gone or only waits to be reaped."""
    try:
        # The name, in parentheses, may itself hold spaces and parentheses.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return None
    return None if state in ("Z", "X", "x") else int(fields[18])
