"""Embedded mode: web, workers and scheduler as processes of one parent, restarted when they die, stopped together."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.config import Settings
from app.errors import ConfigurationError, ServiceError
from app.messaging import prepare_broker
from app.runtime import build_runtime
from ensembles.errors import Problem
from workers.logs import get_logger

log = get_logger(__name__)

#: After SIGTERM; workers hand back what they hold within this time.
STOP_SECONDS = 18.0
#: Pause before a dead process is started again, doubled each time; one that lived this long begins anew.
_FIRST_PAUSE, _LAST_PAUSE, _LONG_LIFE = 1.0, 30.0, 60.0
_PR_SET_PDEATHSIG = 1


class AlreadyRunningError(ServiceError):
    """Another supervisor serves this data folder."""

    code = "already_running"

    def __init__(self, home: Path, pid: str) -> None:
        super().__init__(f"SOFTVOTE_HOME: another `softvote up` (process {pid or 'unknown'}) serves {str(home)!r}")


@dataclass
class _Service:
    """One process that should be alive."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    start_at: float = 0.0
    pause: float = field(default=_FIRST_PAUSE)

    def keep_alive(self, now: float) -> None:
        if self.process is not None and self.process.poll() is not None:
            status = self.process.returncode
            self.process = None
            if now - self.started_at > _LONG_LIFE:
                self.pause = _FIRST_PAUSE
            log.warning("process_died", process=self.name, status=status, restart_in=self.pause)
            self.start_at, self.pause = now + self.pause, min(2 * self.pause, _LAST_PAUSE)
        if self.process is None and now >= self.start_at:
            self.process = _start(self.arguments)
            self.started_at = now
            log.info("process_started", process=self.name, pid=self.process.pid)


def run_all(
    settings: Settings,
    worker_arguments: Sequence[Sequence[str]],
    stopping: threading.Event,
    ready: Callable[[str], None],
) -> None:
    """Migrate, start everything, keep it alive until `stopping` is set, stop everything.

    Args:
        settings: of this process; children read the same environment.
        worker_arguments: options of `softvote worker`, once a worker.
        stopping: set by a signal handler.
        ready: called once with the address when the web process answers.

    Raises:
        AlreadyRunningError: another supervisor serves this data folder.
        ConfigurationError: the address is taken.
        ServiceError: the database cannot be brought to this release.
    """
    build_runtime(settings, migrate=True).db.dispose()
    with _only_supervisor(settings):
        _check_address(settings.bind)
        _empty_broker(settings)
        services = [_Service("web", ["web"]), _Service("scheduler", ["scheduler"])]
        services += [_Service(f"worker {i}", ["worker", *extra]) for i, extra in enumerate(worker_arguments, start=1)]
        address = f"http://{settings.bind}"
        announced = False
        try:
            while not stopping.is_set():
                for service in services:
                    service.keep_alive(time.monotonic())
                if not announced and _answers(address):
                    announced = True
                    ready(settings.public_url)
                stopping.wait(0.25)
        finally:
            _stop_all([service.process for service in services if service.process is not None])


def _start(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [str(Path(sysconfig.get_path("scripts")) / "softvote"), *arguments]
    # A session of its own keeps a terminal's Ctrl-C from reaching it before this process decides. The kernel ends it
    # should this process be killed.
    return subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: PLW1509 - no threads here


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _stop_all(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    for process in processes:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.poll() is None:
            log.warning("process_killed", pid=process.pid)
        with contextlib.suppress(ProcessLookupError):  # the whole session: a pool's child must not survive its parent
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def _only_supervisor(settings: Settings) -> Iterator[None]:
    with (settings.home / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise AlreadyRunningError(settings.home, file.read().strip()) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _check_address(bind: str) -> None:
    """Find out now, and not from a web process that dies again and again, that the port is taken."""
    host, _, port = bind.rpartition(":")
    try:
        with socket.create_server((host.strip("[]"), int(port)), family=_family(host), reuse_port=False):
            pass
    except OSError as error:
        raise ConfigurationError([Problem("SOFTVOTE_BIND", f"a free address ({error.strerror})", bind)]) from error


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _empty_broker(settings: Settings) -> None:
    """Old doorbells say nothing, and a truncated one would only kill a worker."""
    if settings.embedded_broker:
        shutil.rmtree(settings.home / "broker", ignore_errors=True)
        prepare_broker(settings)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/healthz", timeout=1):  # noqa: S310 - our own http address
            return True
    except urllib.error.HTTPError:
        # It answers, if only to the names of SOFTVOTE_PUBLIC_URL.
        return True
    except (urllib.error.URLError, OSError):
        return False
