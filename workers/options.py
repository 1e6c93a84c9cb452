"""How one worker was started. Importable without torch and Celery."""

from __future__ import annotations

from dataclasses import dataclass

from app.messaging import QUEUES


@dataclass(frozen=True)
class WorkerOptions:
    """How one worker was started.

    Attributes:
        name: shown on the page of workers, and Celery's node name.
        device: "cpu" or "cuda:<number>".
        queues: which kinds of work it takes.
        threads: CPU threads of one operation; None for all CPUs it may use.
        slice_seconds: how much work it leases at once, and so loses at most when it is killed.
        deaf_seconds: how long a doorbell may lie unheard while the worker idles before it starts anew.
        max_memory: bytes of memory at which it starts anew between two pieces of work; None for nine tenths of all.
    """

    name: str = "worker"
    device: str = "cpu"
    queues: tuple[str, ...] = QUEUES
    threads: int | None = None
    slice_seconds: float = 30.0
    deaf_seconds: float = 60.0
    max_memory: int | None = None
