"""How the queue holds up when it is long: leasing, submitting, listing and cancelling with 10,000 evaluations in it.

    python -m benchmarks.queue [--evaluations 10000] [--database URL] [--durable]

Fills an empty database (by default a SQLite file that is deleted afterwards) with checkpoints and data sets as rows,
submits the evaluations through the service, then times each operation. Without `--durable` no commit waits for the
disk, so the times are those of the service beside the fsync; with it they are what a request sees. The database at
URL must be empty and is left with the rows in it.
"""

from __future__ import annotations

import argparse
import gc
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import event, text

from app.db import migrations
from app.db.queries import evaluations as queries
from app.db.session import Database
from app.representations.requests import EvaluationRequest
from app.services import evaluations, predictions
from app.services.leasing import leases, recovery
from tests.catalogue import Catalogue

CHECKPOINTS, DATASETS = 600, 10
PRESETS = ("vgg-single-scale", "vgg-multi-scale-dense", "vgg-multi-scale-both")
#: A slice of the leased work: 5e8 MACs a second for 30 s.
RATE = 5e8


def main() -> None:
    """Fill, time, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=10_000)
    parser.add_argument("--database", help="SQLAlchemy URL of an empty database")
    parser.add_argument("--durable", action="store_true", help="let every commit reach the disk")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        url = arguments.database or f"sqlite:///{scratch}/softvote.db"
        migrations.upgrade(url)
        db = Database(url)
        if not arguments.durable:
            never_wait_for_the_disk(db)
        catalogue = Catalogue(Path(scratch), db)
        kind = f"{db.engine.dialect.name}, {'durable' if arguments.durable else 'without fsync'}"
        print(f"{arguments.evaluations:,} evaluations, {kind}; Python {platform.python_version()}")
        register(catalogue)
        submitted = _times(lambda: submit(catalogue), arguments.evaluations)
        _report("submit, the last 1,000", submitted[-1000:])
        if db.engine.dialect.name == "postgresql":
            with db.write() as session:  # as autovacuum does within a minute
                session.execute(text("ANALYZE"))
        # What filling left on the heap would be walked by the garbage collector in the middle of a measurement.
        gc.collect()
        gc.freeze()
        _time_leases(catalogue)
        _time_reads(catalogue)
        started = time.perf_counter()
        cancelled = evaluations.cancel_many(db)
        print(f"{f'cancel all {cancelled:,}':32} {time.perf_counter() - started:8.1f} s")
        db.dispose()


def never_wait_for_the_disk(db: Database) -> None:
    """Let no commit on this engine reach the disk before it returns."""
    statement = "PRAGMA synchronous=OFF" if db.engine.dialect.name == "sqlite" else "SET synchronous_commit = off"

    @event.listens_for(db.engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        if db.engine.dialect.name == "postgresql":
            connection.commit()


def register(catalogue: Catalogue) -> None:
    """Make the checkpoints and data sets as rows."""
    for number in range(DATASETS):
        catalogue.dataset(f"data-{number}", images=5000)
    for number in range(CHECKPOINTS):
        catalogue.checkpoint(f"network-{number}")


def submit(catalogue: Catalogue) -> None:
    """Submit one evaluation, of random checkpoints under a random preset."""
    request = EvaluationRequest(
        dataset=f"data-{random.randrange(DATASETS)}",
        checkpoints=[f"network-{i}" for i in random.sample(range(CHECKPOINTS), random.choice((1, 2, 7)))],
        protocol=random.choice(PRESETS),
        priority=random.choice((5, 5, 5, 7)),
    )
    evaluations.submit(catalogue.db, request)


def _time_leases(catalogue: Catalogue) -> None:
    worker, db = catalogue.worker(), catalogue.db
    leased_in: list[float] = []
    items_in: list[float] = []
    completed_in: list[float] = []
    advanced_in: list[float] = []
    for _ in range(500):
        items_in += _times(lambda: leases.lease_item(db, worker, ["fuse"]), 1)
        started = time.perf_counter()
        slice_ = predictions.lease_slice(db, worker, RATE)
        leased_in.append(time.perf_counter() - started)
        if slice_ is None:
            break
        finished = catalogue.finished(slice_)
        completed_in += _times(lambda: predictions.complete(db, worker, finished), 1)  # noqa: B023 - called at once
        advanced_in += _times(lambda: evaluations.advance_ready(db), 1)
    _report("lease an item", items_in)
    _report("lease a slice", leased_in)
    _report("complete a slice", completed_in)
    _report("advance what is ready", advanced_in)
    _report("sweep", _times(lambda: recovery.sweep(db), 20))
    _report("look for claimable work", _times(lambda: recovery.claimable(db), 50))


def _time_reads(catalogue: Catalogue) -> None:
    def first_page() -> None:
        with catalogue.db.read() as session:
            queries.list_page(session, cursor=None, limit=50)

    _report("first page of 50", _times(first_page, 50))


def _times(action: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return times


def _report(what: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
    print(f"{what:32} median {1e3 * statistics.median(ordered):8.2f} ms   p99 {1e3 * p99:8.2f} ms", flush=True)


if __name__ == "__main__":
    main()
