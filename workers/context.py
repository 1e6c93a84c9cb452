"""What one worker process keeps from start to end: database, device, networks, images, its row and heartbeat."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import PIL
import torch

from app.errors import DatabaseUnavailableError, ServiceError
from app.runtime import Runtime
from app.services import workers
from ensembles.specs import ENGINE_VERSION
from workers import devices
from workers.heartbeat import Heartbeat
from workers.image_data import ImageCache
from workers.logs import bind, get_logger
from workers.networks import NetworkCache
from workers.options import WorkerOptions
from workers.self_checks import memory_limit, resident_bytes

log = get_logger(__name__)

_Result = TypeVar("_Result")

#: MACs a second before anything was measured: low, so that the first slice is short and tells the truth.
_FIRST_GUESS = {"cpu": 2e9, "cuda": 2e11}


@dataclass
class Rate:
    """How fast this worker has been lately.

    Attributes:
        images_per_second: (image, view) pairs; None before the first slice.
        macs_per_second: multiply-accumulates, decoding and everything else included.
    """

    macs_per_second: float
    images_per_second: float | None = None

    def add(self, images: int, macs: float, seconds: float) -> None:
        """Take one more measurement; the newest counts half."""
        seconds = max(seconds, 1e-9)  # a clock may stand still
        measured = images / seconds, macs / seconds
        if self.images_per_second is None:
            self.images_per_second, self.macs_per_second = measured
        else:
            self.images_per_second = (self.images_per_second + measured[0]) / 2
            self.macs_per_second = (self.macs_per_second + measured[1]) / 2


@dataclass
class WorkerContext:
    """One worker process.

    Attributes:
        stopping: whether the process was asked to end.
        environment: what was computed with what; stored beside every posterior.
    """

    runtime: Runtime
    options: WorkerOptions
    worker_id: str
    device: torch.device
    stopping: Callable[[], bool]
    heartbeat: Heartbeat
    networks: NetworkCache
    images: ImageCache
    rate: Rate
    environment: dict[str, Any]

    def patiently(self, write: Callable[[], _Result]) -> _Result:
        """Repeat a short transaction until the database answers: finished work is worth waiting for.

        Its lease may lapse meanwhile; then its token is refused, and nothing is done twice.

        Raises:
            DatabaseUnavailableError: it still does not answer, and the process was asked to stop.
        """
        delay = 0.5
        while True:
            try:
                return write()
            except DatabaseUnavailableError as error:
                if self.stopping():
                    raise
                log.warning("database_unavailable", reason=str(error), retry_in=delay)
                self.pause(delay)
                delay = min(2 * delay, 5.0)

    def pause(self, seconds: float) -> None:
        """Wait, but no longer than until the process is asked to stop; the heartbeat does not take it for a hang."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self.stopping():
            self.heartbeat.moved()
            time.sleep(min(0.2, seconds))

    def is_full(self) -> bool:
        """Whether the process holds more memory than it may; it then ends between two pieces of work."""
        return resident_bytes() > (self.options.max_memory or memory_limit())

    def close(self) -> None:
        """Sign off and let go of everything."""
        log.info("worker_stops")
        self.heartbeat.close()
        with contextlib.suppress(ServiceError):  # whoever cannot sign off is found out by the sweeper
            workers.stop(self.runtime.db, self.worker_id)
        self.networks.clear()
        self.runtime.db.dispose()


def open_context(runtime: Runtime, options: WorkerOptions, stopping: Callable[[], bool]) -> WorkerContext:
    """Set the device up, sign on as a worker, begin to beat.

    Raises:
        ConfigurationError: no such device.
        DatabaseUnavailableError: the database does not answer.
    """
    device = devices.select_device(options.device)
    threads = options.threads or devices.usable_threads()
    devices.prepare_device(device, threads)
    environment = _environment(device, threads)
    identity = workers.WorkerIdentity.of_this_process(
        name=options.name, device=str(device), queues=options.queues, versions=environment
    )
    worker_id = workers.register(runtime.db, identity)
    rate = Rate(_FIRST_GUESS[device.type])
    heartbeat = Heartbeat(
        runtime.db,
        worker_id,
        stopping=stopping,
        rates=lambda: (rate.images_per_second, rate.macs_per_second),
        lease_seconds=runtime.settings.lease_seconds,
    )
    heartbeat.start()
    bind(worker_id=worker_id)
    log.info("worker_ready", device=str(device), hardware=environment["device_name"], threads=threads)
    return WorkerContext(
        runtime=runtime,
        options=options,
        worker_id=worker_id,
        device=device,
        stopping=stopping,
        heartbeat=heartbeat,
        networks=NetworkCache(device, devices.memory_for_networks(device)),
        images=ImageCache(runtime.artifacts),
        rate=rate,
        environment=environment,
    )


def _environment(device: torch.device, threads: int) -> dict[str, Any]:
    return {
        "softvote": importlib.metadata.version("softvote"),
        "engine": ENGINE_VERSION,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "device": str(device),
        "device_name": devices.describe_device(device),
        **devices.numeric_libraries(device),
        "threads": threads,
    }
