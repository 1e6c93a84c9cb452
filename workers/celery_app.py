"""The Celery worker: a parent that listens for doorbells, and one child process that does the work.

The parent never imports torch: a forked child can use neither a CUDA context nor an OpenMP pool that its parent has
touched (it hangs). So nothing at module level here, or in `tasks`, may import what imports torch.
"""

from __future__ import annotations

import contextlib
import logging
import mmap
import os
import sys
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery import Celery, signals

from app.config import Settings
from app.errors import ServiceError
from app.messaging import Doorbell, celery_settings, prepare_broker
from app.runtime import build_runtime
from workers import tasks, transports
from workers.logs import bind, configure_logs, get_logger
from workers.options import WorkerOptions
from workers.pool import TaskPool
from workers.self_checks import EXIT_BROKEN, BellWatch, resident_bytes

if TYPE_CHECKING:
    from workers.context import WorkerContext

log = get_logger(__name__)

#: Importing torch and opening a device take seconds, on a cold disk many; Celery allows a child 4 by default.
_CHILD_START_SECONDS = 300.0


class StopFlag:
    """One byte that the parent and its forked child share: whether the worker was asked to stop."""

    def __init__(self) -> None:
        self._byte = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Safe in a signal handler: it takes no lock."""
        self._byte[0] = 1

    def is_set(self) -> bool:
        """Read by the child between two steps of work."""
        return self._byte[0] == 1


class PoolChild:
    """The child process's side: what it keeps between two doorbells."""

    def __init__(self, settings: Settings, options: WorkerOptions) -> None:
        self._settings, self._options = settings, options
        self.stop_flag = StopFlag()
        self._context: WorkerContext | None = None
        self._bell_watch: BellWatch | None = None

    def start(self) -> None:
        """Import torch, register as a worker, begin to beat. Waits for a database that does not answer yet."""
        from workers.context import open_context  # noqa: PLC0415 - torch belongs to the child alone

        # Should memory run out, the kernel is to take this process, not the database or the web server beside it.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500", encoding="ascii")
        delay = 1.0
        while self._context is None and not self.stop_flag.is_set():
            try:
                self._context = open_context(build_runtime(self._settings), self._options, self.stop_flag.is_set)
            except ServiceError as error:
                log.warning("worker_cannot_start", code=error.code, reason=str(error), retry_in=delay)
                time.sleep(delay)
                delay = min(2 * delay, 10.0)
        options = self._options
        self._bell_watch = BellWatch(Doorbell(self._settings), options.queues, patience=options.deaf_seconds)
        self._bell_watch.start()

    def drain(self) -> None:
        """Do all the work that can be leased."""
        from workers.drain import drain  # noqa: PLC0415 - torch belongs to the child alone

        if self._context is None or self._bell_watch is None:
            return
        self._bell_watch.answered()
        try:
            drain(self._context)
        finally:
            self._bell_watch.idle()
        if self._context.is_full():
            # The parent starts another child, and the dispatcher rings again for what is left.
            log.warning("worker_full", resident_bytes=resident_bytes())
            self.stop()
            os._exit(EXIT_BROKEN)

    def stop(self) -> None:
        """Sign off."""
        if self._bell_watch is not None:
            self._bell_watch.close()
        if self._context is not None:
            self._context.close()
            self._context = None


def build_app(settings: Settings, child: PoolChild) -> Celery:
    """Celery with the service's settings and the one task."""
    app = Celery("softvote")
    app.conf.update(celery_settings(settings))
    app.conf.update(
        worker_proc_alive_timeout=_CHILD_START_SECONDS,
        # The workers table says who lives and what they do; remote control would only be another way in.
        worker_enable_remote_control=False,
    )
    tasks.register(app, child.drain)
    return app


def run_worker(settings: Settings, options: WorkerOptions) -> int:
    """Work until SIGTERM or Ctrl-C, then let the step under way finish and hand the rest back.

    Returns:
        The exit status.

    Raises:
        ServiceError: settings or schema are not fit to work with.
    """
    configure_logs(worker=options.name)
    build_runtime(settings).db.dispose()
    prepare_broker(settings)
    transports.install()
    child = PoolChild(settings, options)
    _connect_signals(child)
    app = build_app(settings, child)
    # Containers run as root by default. Celery's concern is pickle, which accept_content shuts out.
    warnings.filterwarnings("ignore", message="You're running the worker with superuser privileges")
    if "torch" in sys.modules:
        raise RuntimeError("the parent of a worker must not import torch: its forked child would hang")
    worker: Any = app.Worker(
        hostname=f"{options.name}@%h",
        pool=TaskPool,
        concurrency=1,
        queues=list(options.queues),
        loglevel=logging.WARNING,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    log.info("worker_starts", device=options.device, queues=list(options.queues))
    worker.start()
    return int(worker.exitcode or 0)


def _connect_signals(child: PoolChild) -> None:
    def configure(**_: Any) -> None:
        """Having a receiver keeps Celery from setting up logging of its own."""

    def start_child(**_: Any) -> None:
        bind(process="child")
        child.start()

    def stop_child(**_: Any) -> None:
        child.stop()

    def stop(**_: Any) -> None:
        child.stop_flag.set()

    signals.setup_logging.connect(configure, weak=False)
    signals.worker_process_init.connect(start_child, weak=False)
    signals.worker_process_shutdown.connect(stop_child, weak=False)
    signals.worker_shutting_down.connect(stop, weak=False)
