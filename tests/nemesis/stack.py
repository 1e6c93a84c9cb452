"""A whole service of real processes that are started again whenever they die: what a run of faults is aimed at."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.integration.harness import Deployment, deployment
from tests.nemesis.servers import PostgresqlServer, RedisServer, free_port

WORKERS = ("worker-1", "worker-2")
#: Room for artifacts where a small file system can be mounted.
_STORE_BYTES = 48 << 20


class Stack:
    """Web, scheduler and workers of one deployment, kept alive."""

    def __init__(
        self,
        made: Deployment,
        url: str,
        redis_server: RedisServer | None,
        postgresql: PostgresqlServer | None,
        *,
        small_store: bool,
    ) -> None:
        self.made, self.url = made, url
        self.redis, self.postgresql, self.small_store = redis_server, postgresql, small_store
        slices = ("--threads", "1", "--slice-seconds", "0.1")
        self._arguments: dict[str, tuple[str, ...]] = {
            "web": ("web",),
            "scheduler": ("scheduler",),
            **{name: ("worker", "--name", name, *slices) for name in WORKERS},
        }
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._expected: set[int] = set()
        self._keeper = threading.Thread(target=self._keep_alive, name="keeper", daemon=True)
        #: (process, exit status) of those that ended although no fault was aimed at them.
        self.deaths: Counter[tuple[str, int]] = Counter()

    def start(self) -> None:
        """Start everything and wait until it answers."""
        for name, arguments in self._arguments.items():
            self.made.start(name, *arguments)
        self._keeper.start()
        self.made.wait(self._answers, "the web process", timeout=60)
        for name in WORKERS:
            self.made.wait(lambda name=name: "worker_ready" in self.made.log(name), name, timeout=60)  # type: ignore[misc]

    def close(self) -> None:
        """Stop keeping alive; the deployment kills what runs."""
        self._closed.set()
        self._keeper.join()

    def pid(self, name: str) -> int:
        with self._lock:
            return self.made.processes[name].pid

    def child_pid(self, name: str) -> int | None:
        """Of the process that computes; None while there is none."""
        pid = self.pid(name)
        with suppress(OSError, IndexError):
            return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
        return None

    def kill(self, name: str) -> None:
        """SIGKILL to the process and all of its children; it is started again."""
        with self._lock:
            process = self.made.processes[name]
            self._expected.add(process.pid)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def signal_group(self, name: str, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, KeyError):
            os.killpg(self.pid(name), number)

    def terminate(self, name: str) -> None:
        """SIGTERM, as an operator would; it is started again."""
        with self._lock:
            process = self.made.processes[name]
            self._expected.add(process.pid)
            process.terminate()

    def resume_all(self) -> None:
        """Whatever was stopped goes on."""
        for name in self._arguments:
            self.signal_group(name, signal.SIGCONT)

    def _keep_alive(self) -> None:
        while not self._closed.wait(0.1):
            with self._lock:
                for name, arguments in self._arguments.items():
                    process = self.made.processes[name]
                    status = process.poll()
                    if status is None:
                        continue
                    if process.pid not in self._expected:
                        self.deaths[name, status] += 1
                    with suppress(ProcessLookupError):  # a pool's child that outlived its parent
                        os.killpg(process.pid, signal.SIGKILL)
                    self.made.start(name, *arguments)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2):
                return True
        except (OSError, urllib.error.URLError):
            return False


@contextmanager
def running_stack(folder: Path, like: Deployment, *, services: bool, lease_seconds: float) -> Iterator[Stack]:
    """A stack with the catalogue of `like` already registered, and nothing predicted.

    Args:
        folder: empty.
        like: on SQLite.
        services: PostgreSQL and Redis servers of its own instead of SQLite and a folder.
        lease_seconds: short, so that a frozen worker is noticed soon.
    """
    port = free_port()
    settings = {"SOFTVOTE_BIND": f"127.0.0.1:{port}", "SOFTVOTE_LEASE_SECONDS": str(lease_seconds)}
    with ExitStack() as stack:
        store = folder / "store"
        store.mkdir(parents=True)
        small_store = stack.enter_context(_small_file_system(store))
        settings["SOFTVOTE_ARTIFACTS"] = str(store)
        redis_server = postgresql = None
        if services:
            redis_server, postgresql = RedisServer(), PostgresqlServer()
            stack.callback(redis_server.kill)
            stack.callback(postgresql.remove)
            redis_server.start()
            postgresql.start_anew()
            settings |= {"SOFTVOTE_DATABASE_URL": postgresql.url, "SOFTVOTE_BROKER_URL": redis_server.url}
        own = stack.enter_context(deployment(folder / "deployment", settings=settings, like=None if services else like))
        _copy_catalogue(like, own, services=services)
        made = Stack(own, f"http://127.0.0.1:{port}", redis_server, postgresql, small_store=small_store)
        made.start()
        try:
            yield made
        finally:
            made.resume_all()
            made.close()


def _copy_catalogue(like: Deployment, made: Deployment, *, services: bool) -> None:
    """Data set indexes lie in the store; a server's database has to be filled, a SQLite file was copied."""
    if services:
        made.add_images(folder=like.folder / "data" / "pictures")
        for path in sorted((like.folder / "checkpoints").iterdir()):
            made.add_existing_checkpoint(path)
        return
    for path in (like.home / "artifacts" / "datasets").iterdir():
        made.runtime.artifacts.put(f"datasets/{path.name}", path.read_bytes())


@contextmanager
def _small_file_system(folder: Path) -> Iterator[bool]:
    """Mount one of `_STORE_BYTES` on `folder` where this is allowed; whether it was."""
    options = ["-t", "tmpfs", "-o", f"size={_STORE_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            deadline = time.monotonic() + 10
            while subprocess.run(["umount", str(folder)], capture_output=True, check=False).returncode:
                if time.monotonic() > deadline:
                    subprocess.run(["umount", "--lazy", str(folder)], check=True)
                    break
                time.sleep(0.2)
