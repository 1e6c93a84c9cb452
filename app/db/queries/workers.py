"""Reads of worker processes."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.models import Worker
from app.representations.catalogue import WorkerDocument

#: A worker that was not seen for so long is taken for dead; a heartbeat comes every 5 s.
ALIVE_SECONDS = 30
#: How many workers a list shows: the live ones and the latest of the dead.
_SHOWN = 200


def list_all(session: Session) -> list[WorkerDocument]:
    """Workers, live ones first, then by when they were last seen."""
    at = now(session)
    rows = session.scalars(select(Worker).order_by(Worker.last_seen.desc(), Worker.id.desc()).limit(_SHOWN)).all()
    return sorted((_document(row, at) for row in rows), key=lambda worker: not worker.alive)


def alive(session: Session) -> list[Worker]:
    """Rows of the workers that live."""
    since = now(session) - dt.timedelta(seconds=ALIVE_SECONDS)
    rows = select(Worker).where(Worker.last_seen > since, Worker.stopped_at.is_(None)).order_by(Worker.name)
    return list(session.scalars(rows))


def _document(row: Worker, at: dt.datetime) -> WorkerDocument:
    return WorkerDocument(
        id=row.id,
        name=row.name,
        host=row.host,
        pid=row.pid,
        device=row.device,
        queues=row.queues,
        state=row.state,
        alive=row.stopped_at is None and row.last_seen > at - dt.timedelta(seconds=ALIVE_SECONDS),
        doing=row.doing,
        images_per_second=row.images_per_second,
        versions=row.versions,
        started_at=row.started_at,
        last_seen=row.last_seen,
    )
