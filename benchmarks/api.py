"""How quick REST is while many look on: clients that poll every two seconds, on PostgreSQL with a long history.

    python -m benchmarks.api [--evaluations 10000] [--clients 100] [--seconds 60] [--processes N] [--threads N]

Makes a PostgreSQL database of its own on the server of SOFTVOTE_TEST_POSTGRES_URL, fills it as `benchmarks.queue` does,
serves it by gunicorn as the Dockerfile does, and lets half of the clients follow one evaluation each and half read a
filtered page of 50, while a worker that predicts sends its heartbeats. First without ETags; then with those that the
answers came with. The database is dropped.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import platform
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy import text

from app.db import migrations
from app.db.session import Database
from app.services import evaluations, predictions
from app.services.leasing import leases
from benchmarks.queue import CHECKPOINTS, DATASETS, RATE, never_wait_for_the_disk, register, submit
from tests import gunicorn
from tests.catalogue import Catalogue
from tests.databases import postgresql_url

POLL_SECONDS = 2.0
#: What is answered first is not counted: processes have just started.
WARM_UP_SECONDS = 6.0


@dataclass
class Measured:
    """Answers of one kind of request."""

    seconds: list[float] = field(default_factory=list)
    unchanged: int = 0

    def row(self, name: str) -> str:
        """Of a Markdown table."""
        ordered = sorted(self.seconds)
        p50, p95, p99 = (1e3 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99))
        return f"| {name} | {len(ordered):,} | {self.unchanged:,} | {p50:.1f} | {p95:.1f} | {p99:.1f} |"


def main() -> None:
    """Fill, serve, poll, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--processes", type=int, help="of gunicorn, in place of the Dockerfile's number")
    parser.add_argument("--threads", type=int, help="of each, likewise")
    arguments = parser.parse_args()
    random.seed(1)
    with tempfile.TemporaryDirectory() as scratch, postgresql_url() as url:
        folder = Path(scratch)
        filled = fill(folder, url, arguments.evaluations)
        environment = {"SOFTVOTE_HOME": str(folder / "home"), "SOFTVOTE_DATABASE_URL": url}
        options = gunicorn.arguments_of_the_image()
        for name, number in (("--workers", arguments.processes), ("--threads", arguments.threads)):
            if number is not None:
                options[options.index(name) + 1] = str(number)
        print(f"{arguments.evaluations:,} evaluations, {arguments.clients} clients, each every {POLL_SECONDS:g} s")
        print(f"gunicorn {' '.join(options)}; Python {platform.python_version()}, {os.cpu_count()} cores")
        with gunicorn.serving(environment, folder / "web.log", options) as address:
            print("| request | answers | 304 | p50, ms | p95, ms | p99, ms |\n|---|---:|---:|---:|---:|---:|")
            for etags in (False, True):
                asyncio.run(poll(address, url, filled, arguments.clients, arguments.seconds, etags=etags))


@dataclass(frozen=True)
class Filled:
    """Ids of the evaluations, newest first, and a worker with the parts that it holds."""

    ids: Sequence[str]
    worker: str
    parts: Sequence[tuple[str, str, int]]

    def beat(self, db: Database) -> None:
        """A heartbeat of the worker."""
        leases.renew(db, self.worker, self.parts, "the next slice", 31.2, RATE)


def fill(folder: Path, url: str, count: int) -> Filled:
    """The rows of a long history: most evaluations wait, some have ended, one is being predicted."""
    migrations.upgrade(url)
    db = Database(url)
    never_wait_for_the_disk(db)
    catalogue = Catalogue(folder / "home", db)
    register(catalogue)
    began = time.perf_counter()
    for _ in range(count):
        submit(catalogue)
    with db.read() as session:
        ids = list(session.scalars(text("SELECT id FROM evaluations ORDER BY created_at DESC, id DESC")))
    for evaluation_id in ids[::4]:
        evaluations.cancel(db, evaluation_id)
    worker = catalogue.worker()
    for _ in range(200):
        slice_ = predictions.lease_slice(db, worker, RATE)
        if slice_ is not None:
            predictions.complete(db, worker, catalogue.finished(slice_))
    held = predictions.lease_slice(db, worker, RATE)
    parts = [("part", part.id, part.token) for part in held.parts] if held else []
    with db.write() as session:  # as autovacuum does within a minute
        session.execute(text("ANALYZE"))
    db.dispose()
    print(f"filled in {time.perf_counter() - began:.0f} s")
    return Filled(ids, worker, parts)


async def poll(address: str, url: str, filled: Filled, clients: int, seconds: float, *, etags: bool) -> None:
    """Let the clients poll side by side, and print a row for each kind of request."""
    ones, pages = Measured(), Measured()
    db = Database(url)
    heart = asyncio.create_task(keep_alive(db, filled))
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients, keepalive_expiry=30)
    async with httpx.AsyncClient(base_url=f"{address}/api/v1", limits=limits, timeout=60) as client:
        start = time.perf_counter() + WARM_UP_SECONDS
        followers = (
            repeat(look(client, f"/evaluations/{random.choice(filled.ids)}", ones, start, etags), start + seconds)
            for _ in range(clients // 2)
        )
        readers = (
            repeat(look(client, path, pages, start, etags), start + seconds)
            for path in itertools.islice(filters(), clients - clients // 2)
        )
        await asyncio.gather(*followers, *readers)
    heart.cancel()
    db.dispose()
    with_etags = " with its ETag" if etags else ""
    print(ones.row(f"one evaluation{with_etags}"))
    print(pages.row(f"filtered page of 50{with_etags}"), flush=True)


async def keep_alive(db: Database, filled: Filled) -> None:
    """The worker's heartbeats, for as long as they are wanted."""
    while True:
        await asyncio.to_thread(filled.beat, db)
        await asyncio.sleep(leases.LEASE_SECONDS / leases.BEATS_PER_LEASE)


def filters() -> Iterator[str]:
    """Pages that people look at, in turn: by status, data set, checkpoint, and words."""
    while True:
        checkpoint = f"network-{random.randrange(CHECKPOINTS)}"
        for query in (
            "status=queued",
            "status=cancelled",
            f"dataset=data-{random.randrange(DATASETS)}",
            f"dataset=data-{random.randrange(DATASETS)}&status=queued",
            f"checkpoint={checkpoint}",
            f"search={checkpoint}",
            "search=multi-scale",
        ):
            yield f"/evaluations?limit=50&{query}"


def look(
    client: httpx.AsyncClient, path: str, measured: Measured, start: float, etags: bool
) -> Callable[[], Awaitable[None]]:
    """One request of a client that sends the ETag it has, where it does that."""
    headers: dict[str, str] = {}

    async def ask() -> None:
        began = time.perf_counter()
        answer = await client.get(path, headers=headers)
        took = time.perf_counter() - began
        if answer.status_code not in (httpx.codes.OK, httpx.codes.NOT_MODIFIED):
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text[:300]}")
        if etags and "ETag" in answer.headers:
            headers["If-None-Match"] = answer.headers["ETag"]
        if began >= start:
            measured.seconds.append(took)
            measured.unchanged += answer.status_code == httpx.codes.NOT_MODIFIED

    return ask


async def repeat(ask: Callable[[], Awaitable[None]], until: float) -> None:
    """Ask every two seconds from a moment of its own on; an answer that takes longer delays the next request."""
    due = time.perf_counter() + random.random() * POLL_SECONDS
    while due < until:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await ask()
        due = max(due + POLL_SECONDS, time.perf_counter())


if __name__ == "__main__":
    main()
