"""`make demo`: the shipped checkpoints on the shipped images, through the real service.

Starts `softvote up` (web, worker, scheduler) on a data folder of its own, registers files and submits evaluations over
REST, waits for the Celery worker, and prints the results in the layout of the paper's tables 3-6. On a terminal it
keeps serving afterwards, so that the pages can be looked at; DEMO_EXIT=1 ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from app.cli.backends import Json
from app.cli.http_backend import HttpBackend
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest

HERE = Path(__file__).parent
DATASET = "digits"
#: What is evaluated, in order: titles, checkpoints, protocols (scale steps of 4 px: the paper's 32 belong to crop 224).
PLAN: Json = json.loads((HERE / "demo.json").read_text(encoding="utf-8"))
#: Narrow networks gain nothing from several threads, so each CPU gets a worker.
WORKERS = min(4, len(os.sched_getaffinity(0)))
START_SECONDS, WORK_SECONDS = 60, 600


def main() -> int:
    """Run the demo; 0 on success."""
    home = Path(os.environ.get("SOFTVOTE_HOME") or HERE.parents[1] / ".demo").absolute()
    keep_serving = sys.stdout.isatty() and os.environ.get("DEMO_EXIT") != "1"
    with service(home) as url:
        server = HttpBackend(url, token=None)
        register(server)
        started = time.monotonic()
        ids = [evaluate(server, **planned) for planned in PLAN["evaluations"]]
        print(f"all {len(ids)} in {time.monotonic() - started:.1f} s\n", flush=True)
        print_tables(url, ids)
        print(f"\nDashboard: {url}/evaluations/{ids[1]}", flush=True)
        if keep_serving:
            print("Serving until Ctrl-C.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    return 0


@contextlib.contextmanager
def service(home: Path) -> Iterator[str]:
    """`softvote up` on a free port, ready to answer; stopped at the end."""
    bind = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "SOFTVOTE_HOME": str(home),
        "SOFTVOTE_DATA_ROOTS": str(HERE),
        "SOFTVOTE_CHECKPOINT_ROOTS": str(HERE),
    }
    home.mkdir(parents=True, exist_ok=True)
    log = home / "demo.log"
    print(f"Starting web, worker and scheduler (data in {home}, log in {log}) ...", flush=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("softvote"), "up", "--bind", bind, "--workers", str(WORKERS)],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,  # one Ctrl-C is ours, and we stop it in order
        )
    try:
        wait_for(f"an answer at {bind}", lambda: answers(f"http://{bind}/readyz") or ended(process, log), START_SECONDS)
        yield f"http://{bind}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def register(server: HttpBackend) -> None:
    """Register the data set and every checkpoint of the plan over REST; a worker reads the files."""
    names = sorted({name for planned in PLAN["evaluations"] for name in planned["checkpoints"]})
    known = {document["name"] for document in server.checkpoints() + server.datasets()}
    if DATASET not in known:
        server.add_dataset(DatasetRequest(path=str(HERE / PLAN["dataset"]), name=DATASET))
    for name in names:
        if name not in known:
            file = HERE / PLAN["checkpoints"] / f"{name}.safetensors"
            server.add_checkpoint(CheckpointRequest(path=str(file), name=name))
    ready(lambda: server.dataset(DATASET))
    for name in names:
        ready(lambda key=name: server.checkpoint(key))  # type: ignore[misc]
    print(f"Registered {len(names)} checkpoints and {server.dataset(DATASET)['images']:,} images.\n", flush=True)


def evaluate(
    server: HttpBackend,
    title: str,
    checkpoints: Sequence[str],
    protocol: Json,
    tables: Sequence[int],  # noqa: ARG001 - the plan says for people which tables the rows go to
) -> str:
    """Submit one evaluation, wait for its end, say how long it took and what was known before. Returns its id."""
    request = EvaluationRequest(dataset=DATASET, checkpoints=list(checkpoints), protocol=protocol)
    started = time.monotonic()
    evaluation_id = str(server.submit(request)["id"])
    evaluation: Json = {}

    def over() -> bool:
        evaluation.update(server.evaluation(evaluation_id))
        return evaluation["status"] in ("succeeded", "failed", "cancelled")

    wait_for(f"evaluation {evaluation_id}", over, WORK_SECONDS)
    if evaluation["status"] != "succeeded":
        raise SystemExit(f"evaluation {evaluation_id} {evaluation['status']}: {evaluation['error']}")
    views = evaluation["views"]
    reused, total = sum(view["reused"] for view in views), sum(view["total"] for view in views)
    seconds = time.monotonic() - started
    print(f"{title}:\n  {seconds:5.1f} s, {total - reused:,} posteriors computed, {reused:,} known before", flush=True)
    return evaluation_id


def print_tables(url: str, evaluation_ids: Sequence[str]) -> None:
    """The command a person would type, and its output."""
    command = ["softvote", "paper", "--only-measured", *evaluation_ids]
    print(f"$ SOFTVOTE_URL={url} {' '.join(command)}", flush=True)
    subprocess.run(
        [Path(sys.executable).with_name("softvote"), *command[1:]],
        env={**os.environ, "SOFTVOTE_URL": url, "COLUMNS": os.environ.get("COLUMNS", "120")},
        check=True,
    )


def ready(read: Callable[[], Json]) -> None:
    """Wait until a registration has ended well."""
    document: dict[str, Any] = {}

    def registered() -> bool:
        document.update(read())
        return document["state"] != "registering"

    wait_for("a registration", registered, START_SECONDS)
    if document["state"] != "ready":
        raise SystemExit(f"{document['name']} could not be registered: {document['error']}")


def wait_for(what: str, condition: Callable[[], bool], seconds: float) -> None:
    """Poll until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {seconds:.0f} s for {what} in vain")
        time.sleep(0.2)


def answers(url: str) -> bool:
    """Whether a server is ready there."""
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def ended(process: subprocess.Popen[bytes], log: Path) -> bool:
    """False while the service runs; its end before it answered is the demo's end."""
    if process.poll() is None:
        return False
    tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
    raise SystemExit(f"the service ended with status {process.returncode}; the end of {log}:\n{tail}")


def free_port() -> int:
    """8080 if nobody listens there, else any free port."""
    for port in (8080, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


if __name__ == "__main__":
    sys.exit(main())
