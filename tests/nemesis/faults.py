"""The faults: each is done to a running stack, lasts some seconds at most, and heals by itself."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
import resource
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import redis
from sqlalchemy import Select, select

from app.db.conditions import UNPREDICTED
from app.db.models import Evaluation, EvaluationSet, LeaseState, PredictionPart, Worker
from app.errors import ServiceError
from app.messaging import QUEUES
from tests.nemesis.servers import PostgresqlServer, RedisServer
from tests.nemesis.stack import WORKERS, Stack
from workers.scheduler import SWEEP_SECONDS

#: How often each comes, relative to the others; each is a method of `Nemesis`.
_EVERYWHERE = {
    "kill_child": 4,
    "kill_worker": 4,
    "kill_both_workers": 1,
    "freeze_worker": 3,
    "freeze_child": 1,
    "terminate_worker": 1,
    "kill_web": 2,
    "kill_scheduler": 1,
    "freeze_scheduler": 1,
    "flip_bits": 2,
    "remove_artifact": 1,
    "fill_disk": 1,
    "broker_junk": 1,
    "broker_doubled_bells": 1,
}
_EMBEDDED_BROKER = {"broker_wipe": 2, "broker_truncate": 1}
_REDIS = {"redis_kill": 1, "redis_flush": 2, "redis_freeze": 1, "redis_flap": 1}
_SQLITE = {"database_locked": 2}
_POSTGRESQL = {"postgresql_terminate": 3, "postgresql_stop": 1, "postgresql_crash": 1}


@dataclass
class Nemesis:
    """Does faults to a stack, by name, from one seed."""

    stack: Stack
    random: random.Random
    lease_seconds: float
    #: Keys of artifacts that were damaged on purpose.
    flipped: set[str] = field(default_factory=set)

    def schedule(self, faults: int) -> list[str]:
        """Names of `faults` faults that this stack can suffer: first every kind once, then by weight."""
        weights = {**_EVERYWHERE}
        weights |= _EMBEDDED_BROKER if self.stack.redis is None else _REDIS
        weights |= _SQLITE if self.stack.postgresql is None else _POSTGRESQL
        names = sorted(weights)
        self.random.shuffle(names)
        names += self.random.choices(list(weights), list(weights.values()), k=max(0, faults - len(names)))
        return names[:faults]

    def strike(self, name: str) -> None:
        """Do one fault, and wait until it has healed as far as it does at once."""
        method: Callable[[], None] = getattr(self, f"_{name}")
        method()

    # Processes

    def _kill_child(self) -> None:
        pid = self.stack.child_pid(self._worker())
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def _kill_worker(self) -> None:
        self.stack.kill(self._worker())

    def _kill_both_workers(self) -> None:
        for name in WORKERS:
            self.stack.kill(name)

    def _terminate_worker(self) -> None:
        self.stack.terminate(self._worker())

    def _freeze_worker(self) -> None:
        """Past its lease: whoever takes over must not be disturbed when it wakes up."""
        name = self._worker()
        self.stack.signal_group(name, signal.SIGSTOP)
        time.sleep(self._long_enough())
        self.stack.signal_group(name, signal.SIGCONT)

    def _freeze_child(self) -> None:
        pid = self.stack.child_pid(self._worker())
        if pid is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(self._long_enough())
                os.kill(pid, signal.SIGCONT)

    def _long_enough(self) -> float:
        """Past the lease, mostly past the sweep that notices, and now and then past the end of the successor's work."""
        return self.lease_seconds + SWEEP_SECONDS + self.random.uniform(-0.5, 2)

    def _kill_web(self) -> None:
        self.stack.kill("web")

    def _kill_scheduler(self) -> None:
        self.stack.kill("scheduler")

    def _freeze_scheduler(self) -> None:
        self.stack.signal_group("scheduler", signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, 3))
        self.stack.signal_group("scheduler", signal.SIGCONT)

    # Files

    def _flip_bits(self) -> None:
        path = self._stored_posteriors()
        if path is not None:
            with suppress(FileNotFoundError), path.open("r+b") as file:
                place = self.random.randrange(path.stat().st_size)
                file.seek(place)
                byte = file.read(1)[0]
                file.seek(place)
                file.write(bytes([byte ^ 1 << self.random.randrange(8)]))

    def _remove_artifact(self) -> None:
        path = self._stored_posteriors()
        if path is not None:
            path.unlink(missing_ok=True)

    def _fill_disk(self) -> None:
        """No room in the store; where none of its own can be mounted, no worker may write a file of any size."""
        seconds = self.random.uniform(0.5, 2)
        if self.stack.small_store:
            filler = self.stack.made.runtime.settings.artifacts / "filler"
            try:
                # Unbuffered: closing must not try once more to write what found no room.
                with filler.open("wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 16))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
            time.sleep(seconds)
            filler.unlink(missing_ok=True)
            return
        pids = [pid for pid in map(self.stack.child_pid, WORKERS) if pid is not None]
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))
        time.sleep(seconds)
        for pid in pids:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    # Broker

    def _broker_junk(self) -> None:
        """What anybody could send who reaches the broker: no message, none of ours, one of ours with an argument."""
        messages = [b"", b"{", b"\x80\x04\x95pickle", b"[]", b"null", *map(_message, ("os.system", "softvote.work"))]
        for message in self.random.sample(messages, 3):
            self._send(self.random.choice(QUEUES), message)

    def _broker_doubled_bells(self) -> None:
        for _ in range(30):
            self._send(self.random.choice(QUEUES), _message("softvote.work", well_formed=True))

    def _broker_wipe(self) -> None:
        for path in self._messages().glob("*"):
            path.unlink(missing_ok=True)

    def _broker_truncate(self) -> None:
        """A message half written, as by a process that was killed."""
        self._send(self.random.choice(QUEUES), _message("softvote.work", well_formed=True)[:40])

    def _redis_kill(self) -> None:
        redis_server = self._redis()
        redis_server.kill()
        time.sleep(self.random.uniform(0, 3))
        redis_server.start()

    def _redis_flush(self) -> None:
        self._redis().client.flushall()

    def _redis_freeze(self) -> None:
        redis_server = self._redis()
        redis_server.signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(1, 6))
        redis_server.signal(signal.SIGCONT)

    def _redis_flap(self) -> None:
        for _ in range(4):
            self._redis().kill()
            time.sleep(0.3)
            self._redis().start()
            time.sleep(0.4)

    # Database

    def _database_locked(self) -> None:
        path = self.stack.made.home / "softvote.db"
        with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            # Longer than a writer waits, now and then.
            time.sleep(self.random.choice([0.5, 1.5, 3, 11]))
            connection.execute("ROLLBACK")

    def _postgresql_terminate(self) -> None:
        for _ in range(self.random.randint(1, 3)):
            with suppress(psycopg.Error):
                self._postgresql().terminate_all()
            time.sleep(self.random.uniform(0, 0.5))

    def _postgresql_stop(self) -> None:
        self._restart_postgresql("fast")

    def _postgresql_crash(self) -> None:
        """As after `kill -9` of the server: it recovers from its log."""
        self._restart_postgresql("immediate")

    def _restart_postgresql(self, mode: str) -> None:
        self._postgresql().stop(mode)
        time.sleep(self.random.uniform(0, 3))
        self._postgresql().start()

    # What the faults need

    def _worker(self) -> str:
        """One that holds a lease, so that there is something to lose; any where none does soon."""
        holders = select(Worker.name).join(PredictionPart, PredictionPart.worker_id == Worker.id)
        holders = holders.where(PredictionPart.state == LeaseState.LEASED, Worker.stopped_at.is_(None)).distinct()
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            names = sorted(self._ask(holders))
            if names:
                return str(self.random.choice(names))
            time.sleep(0.02)
        return self.random.choice(WORKERS)

    def _ask(self, query: Select[Any]) -> Sequence[Any]:
        """The first column of the answer; nothing while the database is down."""
        try:
            with self.stack.made.runtime.db.read() as session:
                return session.scalars(query).all()
        except ServiceError:
            return ()

    def _stored_posteriors(self) -> Path | None:
        """Of a part that a live evaluation waits for, so that somebody will read it; None where there is none soon."""
        wanted = (
            select(PredictionPart.artifact)
            .join(EvaluationSet, EvaluationSet.set_id == PredictionPart.set_id)
            .join(Evaluation, Evaluation.id == EvaluationSet.evaluation_id)
            .where(Evaluation.status.in_(UNPREDICTED), PredictionPart.state == LeaseState.DONE)
            .order_by(PredictionPart.id)
        )
        deadline = time.monotonic() + 4
        while time.monotonic() < deadline:
            keys = self._ask(wanted)
            if keys:
                key = str(self.random.choice(keys))
                self.flipped.add(key)
                return self.stack.made.runtime.artifacts.path(key)
            time.sleep(0.05)
        return None

    def _messages(self) -> Path:
        return self.stack.made.home / "broker" / "messages"

    def _send(self, queue: str, message: bytes) -> None:
        if self.stack.redis is not None:
            with suppress(redis.RedisError):
                self.stack.redis.client.lpush(f"softvote:{queue}", message)
            return
        # Named as kombu names its own.
        name = f"{round(time.monotonic() * 1000)}_{uuid.UUID(int=self.random.getrandbits(128))}.{queue}.msg"
        (self._messages() / name).write_bytes(message)

    def _redis(self) -> RedisServer:
        assert self.stack.redis is not None
        return self.stack.redis

    def _postgresql(self) -> PostgresqlServer:
        assert self.stack.postgresql is not None
        return self.stack.postgresql


def _message(task: str, *, well_formed: bool = False) -> bytes:
    """A message as Celery writes it; otherwise with arguments that the task does not take."""
    identity = str(uuid.uuid4())
    body = json.dumps([[] if well_formed else ["touch /"], {}, {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": identity,
                "root_id": identity,
                "argsrepr": "()",
                "retries": 0,
            },
            "properties": {
                "correlation_id": identity,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "fuse"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": identity,
            },
        }
    ).encode()
