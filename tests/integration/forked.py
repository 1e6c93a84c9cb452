"""What tests run in processes of their own that are to die, leak or run short: forked, so that a start takes no time.

Imports torch and runs nothing of it, so a process that has imported this may fork.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import waitress

from app.config import Settings
from app.errors import ServiceError
from app.factory import create_app
from app.runtime import Runtime, build_runtime
from app.services import evaluations
from app.services.leasing import leases
from ensembles import images
from workers.context import WorkerContext, open_context
from workers.drain import drain, work_once
from workers.options import WorkerOptions
from workers.self_checks import resident_bytes

#: Of a process that had nothing left to do.
IDLE = 10


def forkserver() -> multiprocessing.context.ForkServerContext:
    """Makes processes that have imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def serve(environment: Mapping[str, str]) -> None:
    """The web process, as `softvote web` runs it."""
    settings = Settings.from_environment(environment)
    waitress.serve(create_app(build_runtime(settings)), listen=settings.bind, threads=4, _quiet=True)


def work(environment: Mapping[str, str], poison: str) -> None:
    """A worker that works until nothing is left, and is killed when it decodes the image `poison`."""
    decode = images._decoded

    def deadly(data: bytes, view: Any, image_id: str) -> Any:
        if image_id == poison:
            os.kill(os.getpid(), signal.SIGKILL)
        return decode(data, view, image_id)

    images._decoded = deadly
    context = _context(build_runtime(Settings.from_environment(environment)))
    drain(context)
    context.close()
    os._exit(IDLE)


def work_through(environment: Mapping[str, str], answers: Connection, warm_up: int) -> None:
    """Do all there is to do, slice by slice, and send (resident bytes, open files) after `warm_up` and at the end."""
    runtime = build_runtime(Settings.from_environment(environment))
    context = _context(runtime)
    with runtime.db.read() as one, runtime.db.read() as other:
        # As the heartbeat takes a second connection sooner or later, and the pool keeps it.
        one.connection(), other.connection()
    slices = 0
    while work_once(context):
        evaluations.advance_ready(runtime.db)
        slices += 1
        if slices == warm_up:
            answers.send(_holds())
    answers.send((*_holds(), slices))
    context.close()


def work_short_of_files(environment: Mapping[str, str], answers: Connection, limit: int, spare: int) -> None:
    """Work under `ulimit -n limit` with all but `spare` files taken, then with them given back.

    Sends the code of what the first attempt raised, how many files were taken, and how many were open then; at the
    end how many are open.
    """
    leases.BACK_OFF_SECONDS = 0.05
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    runtime = build_runtime(Settings.from_environment(environment))
    context = _context(runtime)
    taken: list[int] = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for _ in range(spare):
        os.close(taken.pop())
    raised = None
    try:
        work_once(context)
    except ServiceError as error:
        raised = error.code
    for descriptor in taken:
        os.close(descriptor)
    answers.send((raised, len(taken), _open_files()))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not work_once(context):
            evaluations.advance_ready(runtime.db)
            time.sleep(0.05)
            if answers.poll():
                break
    answers.send(_open_files())
    context.close()


def _context(runtime: Runtime) -> WorkerContext:
    return open_context(runtime, WorkerOptions(threads=1), stopping=lambda: False)


def _holds() -> tuple[int, int]:
    gc.collect()
    return resident_bytes(), _open_files()


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
