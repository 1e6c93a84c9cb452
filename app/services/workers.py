"""Worker processes announce themselves, say what they do, and say goodbye."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import select, update

from app.db.base import new_id
from app.db.clock import now
from app.db.models import LeaseState, PredictionPart, Worker, WorkItem
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.fault_points import reach
from app.services import events
from app.services.leasing import leases, processes


@dataclass(frozen=True)
class WorkerIdentity:
    """Who a worker is.

    Attributes:
        name: unique among those that run, such as "gpu0@host".
        host: name of the host.
        boot_id: `processes.boot_id()`.
        pid: of the process that computes.
        pid_started: `processes.start_ticks(pid)`; 0 where unknown.
        device: such as "cpu" or "cuda:0".
        queues: which it serves.
        versions: of softvote and what it computes with.
    """

    name: str
    host: str
    boot_id: str
    pid: int
    pid_started: int
    device: str
    queues: tuple[str, ...]
    versions: dict[str, Any]

    @classmethod
    def of_this_process(
        cls, name: str, device: str, queues: tuple[str, ...], versions: dict[str, Any]
    ) -> WorkerIdentity:
        """The process that calls."""
        pid = os.getpid()
        started = processes.start_ticks(pid) or 0
        return cls(name, processes.host(), processes.boot_id(), pid, started, device, queues, versions)


def register(db: Database, identity: WorkerIdentity) -> str:
    """Announce a process that starts; its id. Each start is a row of its own."""
    worker_id = new_id()
    with db.write() as session:
        at = now(session)
        columns = {**asdict(identity), "queues": list(identity.queues)}
        session.add(Worker(id=worker_id, started_at=at, last_seen=at, **columns))
        events.record(session, "worker_started", subject_id=worker_id, worker_id=worker_id, name=identity.name)
        reach("worker.before_sign_on")
    reach("worker.after_sign_on")
    return worker_id


def set_state(db: Database, worker_id: str, state: str, doing: str | None = None) -> None:
    """Note what the worker does: "idle", "busy", "draining", or "blocked" with the reason in `doing`."""
    with db.write() as session:
        seen = {"state": state, "doing": doing, "last_seen": now(session), "stopped_at": None}
        changed(session, update(Worker).where(Worker.id == worker_id).values(**seen))


def stop(db: Database, worker_id: str) -> None:
    """Note that the worker has ended; what it still held is handed back at once."""
    with db.write() as session:
        tables: tuple[leases.Leasable, ...] = (PredictionPart, WorkItem)
        for table in tables:
            held = (table.worker_id == worker_id, table.state == LeaseState.LEASED)
            lock_rows(session, table, session.scalars(select(table.id).where(*held)).all())
            back = {"state": LeaseState.PENDING, "lease_until": None}
            changed(session, update(table).where(*held).values(**back))
        ended = {"state": "stopped", "doing": None, "stopped_at": now(session)}
        changed(session, update(Worker).where(Worker.id == worker_id).values(**ended))
        events.record(session, "worker_stopped", subject_id=worker_id, worker_id=worker_id)
        reach("worker.before_sign_off")
