"""A Redis and a PostgreSQL of a run's own, to be killed, frozen and emptied at will."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import redis


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def postgresql_programs() -> Path | None:
    """The folder of the newest initdb and pg_ctl on this machine."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def missing_programs() -> list[str]:
    """What must be installed before this module is of use."""
    missing = [] if shutil.which("redis-server") else ["redis-server"]
    return missing if postgresql_programs() else [*missing, "initdb"]


class RedisServer:
    """A Redis that keeps nothing on disk: killed, it comes back empty."""

    def __init__(self, *options: str) -> None:
        self._port, self._options = free_port(), options
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.client = redis.Redis.from_url(self.url, socket_timeout=3, socket_connect_timeout=1)

    def start(self) -> None:
        options = ["--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            ["redis-server", *options, *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _wait_for(self._answers, "Redis")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False


class PostgresqlServer:
    """A cluster below a temporary folder; it refuses to run as root, who lets the user `postgres` do it."""

    def __init__(self) -> None:
        self._programs = postgresql_programs()
        self._port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="softvote-nemesis-"))
        self.url = f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    def start_anew(self) -> None:
        """Make the cluster and start it."""
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "-D", str(self._folder / "data"), "-A", "trust", "-U", "postgres", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c listen_addresses=127.0.0.1"
        self._control("-w", "-o", options, "-l", str(self._folder / "log"), "start")
        _wait_for(self._answers, "PostgreSQL")

    def stop(self, mode: str = "fast") -> None:
        with suppress(subprocess.CalledProcessError):  # it may be down already
            self._control("-w", "-m", mode, "stop")

    def terminate_all(self) -> int:
        """End every other connection; how many there were."""
        with self.connect() as connection:
            ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            row = connection.execute(ended).fetchone()
        return int(row[0]) if row else 0

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True, connect_timeout=3)

    def remove(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.Error:
            return False
        return True

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "data"), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        assert self._programs is not None, "PostgreSQL is not installed"
        command = [str(self._programs / program), *arguments]
        if os.getuid() == 0:
            command = ["su", "postgres", "-s", "/bin/sh", "-c", shlex.join(command)]
        subprocess.run(
            command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder, timeout=60
        )


def _wait_for(condition: Callable[[], bool], what: str, timeout: float = 30) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} does not answer within {timeout} s")
        time.sleep(0.05)
