"""A whole deployment in a temporary folder: database, broker, and real `softvote` processes on them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from app.config import Settings
from app.db.models import LIVE_STATUSES, Event
from app.db.queries import evaluations as evaluation_queries
from app.representations.evaluations import EvaluationDocument, ScoreDocument
from app.representations.requests import CheckpointRequest, DatasetRequest, EvaluationRequest
from app.runtime import Runtime, build_runtime
from app.services import evaluations
from ensembles.checkpoints import CheckpointMetadata, save_checkpoint
from ensembles.scales import TrainingScale
from tests.builders import mixed_images, write_folder
from tests.databases import postgresql_url
from tests.tiny_nets import tiny_network
from workers import local
from workers.options import WorkerOptions

REDIS = os.environ.get("SOFTVOTE_TEST_REDIS_URL", "redis://127.0.0.1:6379/9")

SIZES = ((48, 40), (40, 48), (56, 44), (48, 40), (44, 44))
SCALES = (34, 40)


@dataclass
class Deployment:
    """One SOFTVOTE_HOME."""

    environment: Mapping[str, str]
    runtime: Runtime
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.runtime.settings.home

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def move_to(self, settings: Settings) -> None:
        """Go on with other settings, in this process."""
        self.runtime.db.dispose()
        self.runtime = build_runtime(settings)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Run `softvote *arguments` in a session of its own; `name` is for `stop`, `kill` and the log file."""
        command = [str(Path(sysconfig.get_path("scripts")) / "softvote"), *arguments]
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env={**self.environment},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.processes[name] = process
        return process

    def start_worker(self, name: str = "worker", *arguments: str) -> subprocess.Popen[bytes]:
        """A worker whose slices are short, so that even tiny evaluations have several."""
        return self.start(name, "worker", "--name", name, "--threads", "1", "--slice-seconds", "0.3", *arguments)

    def stop(self, name: str, timeout: float = 25) -> int:
        """SIGTERM, as an operator would; the exit status."""
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(timeout)

    def kill(self, name: str) -> None:
        """SIGKILL to the process and every child of it."""
        process = self.processes.pop(name)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, name: str) -> str:
        return (self.logs / f"{name}.log").read_text(errors="replace")

    def logs_of_all(self) -> str:
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-4000:]}" for file in self.logs.iterdir())

    def add_images(self, name: str = "pictures", count: int = 40, folder: Path | None = None) -> Path:
        """Register an image folder with three classes."""
        root = folder or write_folder(self.folder / "data" / name, mixed_images(count, SIZES))
        document = local.register_dataset_now(self.runtime, DatasetRequest(path=str(root), name=name))
        assert document.state == "ready", document.error
        return root

    def add_checkpoint(self, name: str, *, configuration: str = "A", seed: int = 0) -> Path:
        """Register a tiny network with three classes and crop 32."""
        path = self.folder / "checkpoints" / f"{name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        network = tiny_network(name, configuration=configuration, classes=3, seed=seed).network
        save_checkpoint(path, network, CheckpointMetadata(TrainingScale(SCALES[0], SCALES[-1])))
        self.add_existing_checkpoint(path)
        return path

    def add_existing_checkpoint(self, path: Path) -> None:
        """Register a weights file under the name of the file."""
        document = local.register_checkpoint_now(self.runtime, CheckpointRequest(path=str(path), name=path.stem))
        assert document.state == "ready", document.error

    def submit(self, checkpoints: Sequence[str], dataset: str = "pictures", **options: object) -> str:
        """Two scales in both modes unless `options` say otherwise."""
        protocol = options.pop("protocol", {"scales": list(SCALES), "modes": ["dense", "crops"], "crop_grid": 2})
        request = EvaluationRequest(dataset=dataset, checkpoints=list(checkpoints), protocol=protocol, **options)  # type: ignore[arg-type]
        return evaluations.submit(self.runtime.db, request).id

    def run(self, evaluation_id: str, slice_seconds: float = 30.0) -> EvaluationDocument:
        """Work in this process until the evaluation has ended."""
        options = WorkerOptions(name="local", threads=1, slice_seconds=slice_seconds)
        local.run_until_done(self.runtime, evaluation_id, options=options)
        return self.evaluation(evaluation_id)

    def evaluation(self, evaluation_id: str) -> EvaluationDocument:
        with self.runtime.db.read() as session:
            return evaluation_queries.get(session, evaluation_id)

    def scores(self, evaluation_id: str) -> list[ScoreDocument]:
        with self.runtime.db.read() as session:
            return evaluation_queries.scores(session, evaluation_id).items

    def events(self, kind: str) -> list[Event]:
        with self.runtime.db.read() as session:
            return list(session.scalars(select(Event).where(Event.kind == kind).order_by(Event.id)))

    def wait(self, condition: Callable[[], bool], what: str, timeout: float = 120) -> float:
        """Seconds until `condition` held; fails with the processes' logs."""
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > timeout:
                pytest.fail(f"{what}: not within {timeout} s\n{self.logs_of_all()}")
            time.sleep(0.05)
        return time.monotonic() - began

    def wait_until_ended(self, evaluation_id: str, timeout: float = 120) -> EvaluationDocument:
        self.wait(
            lambda: self.evaluation(evaluation_id).status not in LIVE_STATUSES, f"end of {evaluation_id}", timeout
        )
        return self.evaluation(evaluation_id)


def processes_of(made: Deployment) -> list[int]:
    """Ids of every process that was started with this SOFTVOTE_HOME, by whomever."""
    mark = f"SOFTVOTE_HOME={made.home}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@contextmanager
def deployment(
    folder: Path,
    *,
    services: bool = False,
    like: Deployment | None = None,
    broker_url: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Deployment]:
    """A deployment on SQLite and the embedded broker, or on PostgreSQL and Redis; its processes are killed at the end.

    Args:
        folder: empty; for everything it writes.
        services: PostgreSQL and Redis.
        broker_url: another broker than the embedded one.
        like: begin as a copy of this one, which is on SQLite: what is registered there is registered here.
        settings: further environment variables.
    """
    (folder / "logs").mkdir(parents=True)
    if like is not None:
        like.runtime.db.dispose()
        shutil.copytree(like.home, folder / "home")
    own = {"SOFTVOTE_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", **(settings or {})}
    if broker_url is not None:
        own["SOFTVOTE_BROKER_URL"] = broker_url
    inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "PYTHONPATH") if name in os.environ}
    if services:
        with postgresql_url() as database_url, _empty_redis() as redis_url:
            own |= {"SOFTVOTE_DATABASE_URL": database_url, "SOFTVOTE_BROKER_URL": redis_url}
            with _running({**inherited, **own}, folder) as running:
                yield running
    else:
        with _running({**inherited, **own}, folder) as running:
            yield running


@contextmanager
def _running(environment: Mapping[str, str], folder: Path) -> Iterator[Deployment]:
    made = Deployment(environment, build_runtime(Settings.from_environment(environment), migrate=True), folder)
    try:
        yield made
    finally:
        for name in list(made.processes):
            made.kill(name)
        made.runtime.db.dispose()


@contextmanager
def _empty_redis() -> Iterator[str]:
    client = redis.Redis.from_url(REDIS, socket_connect_timeout=3)
    try:
        client.flushdb()
    except redis.RedisError as error:
        reason = f"no Redis at {REDIS}: {error}"
        if os.environ.get("SOFTVOTE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    yield REDIS
    client.flushdb()
    client.close()
