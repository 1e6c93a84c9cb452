"""History: what happened to which evaluation, part or item, written in the transaction that made it happen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.db.models import Event
from app.db.statements import table_of

_INSERT = insert(table_of(Event))


def record(
    session: Session,
    kind: str,
    *,
    evaluation_id: str | None = None,
    subject_id: str | None = None,
    worker_id: str | None = None,
    token: int | None = None,
    **detail: Any,
) -> None:
    """Append one event; further keywords become its `detail`, which must be JSON."""
    session.add(
        Event(
            kind=kind,
            evaluation_id=evaluation_id,
            subject_id=subject_id,
            worker_id=worker_id,
            token=token,
            detail=detail,
        )
    )


def record_all(session: Session, kind: str, rows: Sequence[dict[str, Any]], **shared: Any) -> None:
    """Append several events of one kind at once.

    Args:
        session: of a writing transaction.
        kind: of all of them.
        rows: columns of each event that differ; none is no event.
        shared: columns that all of them have.
    """
    if rows:
        session.execute(_INSERT, [{"kind": kind, **shared, **row} for row in rows])
