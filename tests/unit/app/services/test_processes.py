"""A process is known by its pid and the moment it began."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from app.services.leasing import processes


def test_this_process_has_a_moment_it_began() -> None:
    ticks = processes.start_ticks(os.getpid())
    assert ticks is not None
    assert ticks == processes.start_ticks(os.getpid())
    assert processes.boot_id() == processes.boot_id() != ""


def test_a_process_that_ended_is_gone_even_before_it_is_reaped() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert processes.start_ticks(process.pid) is not None
        process.send_signal(signal.SIGSTOP)
        assert processes.start_ticks(process.pid) is not None
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.start_ticks(process.pid) is None
    assert processes.start_ticks(process.pid) is None


def test_two_children_of_one_pid_would_differ_in_when_they_began() -> None:
    started = []
    for _ in range(2):
        with subprocess.Popen(["sleep", "0.05"]) as process:
            started.append((process.pid, processes.start_ticks(process.pid)))
    assert started[0] != started[1]


def test_a_name_with_parentheses_and_spaces_is_read_past(tmp_path: object) -> None:
    program = "import ctypes; ctypes.CDLL(None).prctl(15, b') R 1 (x', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = processes.start_ticks(process.pid)
        own = processes.start_ticks(os.getpid())
        process.kill()
    assert ticks is not None
    assert own is not None
    assert own <= ticks
