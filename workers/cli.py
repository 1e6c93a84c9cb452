"""The commands that belong to the worker side. Nothing here imports torch before a worker's child process needs it."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Any

import click

from app.cli.output import named_errors
from app.config import Settings
from app.messaging import QUEUES
from workers.options import WorkerOptions
from workers.training.command import train


@click.command()
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda:NUMBER; one worker a device.")
@click.option("--queues", default=",".join(QUEUES), show_default=True, help="Kinds of work to take, comma-separated.")
@click.option("--name", default="worker", show_default=True, help="Shown on the page of workers.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads of one operation; by default all CPUs.")
@click.option(
    "--slice-seconds",
    type=click.FloatRange(0.01, 3600),
    default=30.0,
    show_default=True,
    help="Work leased at once; what a killed worker loses at most.",
)
@click.option(
    "--deaf-seconds",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Start anew when a doorbell lies unheard in the broker for so long.",
)
@click.option(
    "--max-memory",
    type=click.FloatRange(min=0.1),
    help="GiB at which the computing process starts anew between two slices; by default nine tenths of the memory.",
)
@named_errors
def worker(
    device: str,
    queues: str,
    name: str,
    threads: int | None,
    slice_seconds: float,
    deaf_seconds: float,
    max_memory: float | None,
) -> None:
    """Run networks, fuse and score until SIGTERM or Ctrl-C; what is unfinished by then goes back to the queue."""
    from workers.celery_app import run_worker  # noqa: PLC0415 - Celery takes half a second to import

    chosen = tuple(queue.strip() for queue in queues.split(",") if queue.strip())
    unknown = sorted(set(chosen) - set(QUEUES))
    if unknown or not chosen:
        raise click.UsageError(f"--queues: one or more of {', '.join(QUEUES)}; got {queues!r}")
    limit = None if max_memory is None else int(max_memory * 2**30)
    options = WorkerOptions(name, device, chosen, threads, slice_seconds, deaf_seconds, limit)
    sys.exit(run_worker(Settings.from_environment(), options))


@click.command()
@named_errors
def scheduler() -> None:
    """Notice dead workers, move evaluations on and ring idle workers, until SIGTERM. Any number may run."""
    from app.runtime import build_runtime  # noqa: PLC0415
    from workers.logs import configure_logs  # noqa: PLC0415
    from workers.scheduler import run_scheduler  # noqa: PLC0415

    configure_logs(process="scheduler")
    run_scheduler(build_runtime(Settings.from_environment()), _stop_on_signals())


@click.command()
@click.option("--bind", help="HOST:PORT; by default SOFTVOTE_BIND, else 127.0.0.1:8080.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option("--device", default="cpu", show_default=True, help="Of the workers; worker N of several takes cuda:N-1.")
@named_errors
def up(bind: str | None, workers: int, device: str) -> None:
    """Everything on this machine under one supervisor: web, workers and scheduler. Ctrl-C stops all."""
    from workers.logs import configure_logs  # noqa: PLC0415
    from workers.supervisor import run_all  # noqa: PLC0415

    if bind:
        os.environ["SOFTVOTE_BIND"] = bind
    configure_logs(process="supervisor")
    run_all(
        Settings.from_environment(),
        _worker_arguments(workers, device),
        _stop_on_signals(),
        lambda address: click.echo(f"Softvote is ready at {address} (Ctrl-C stops it)"),
    )


def register(group: click.Group) -> None:
    """Add these commands; found through the entry point group `softvote.commands`."""
    for command in (worker, scheduler, up, train):
        group.add_command(command)


def _worker_arguments(workers: int, device: str) -> list[list[str]]:
    """Options of each worker: a GPU of its own where several share `cuda`, an equal share of the CPUs otherwise."""
    threads = max(1, len(os.sched_getaffinity(0)) // workers)
    arguments = []
    for index in range(workers):
        own = f"cuda:{index}" if device == "cuda" else device
        arguments.append(["--name", f"worker-{index + 1}", "--device", own, "--threads", str(threads)])
    return arguments


def _stop_on_signals() -> threading.Event:
    stopping = threading.Event()

    def stop(*_: Any) -> None:
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    return stopping
