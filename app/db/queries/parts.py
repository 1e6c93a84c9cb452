"""Reads of prediction parts: who has which images, since when, and why the others wait."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from app.db.clock import now
from app.db.conditions import is_open
from app.db.models import Evaluation, EvaluationSet, LeaseState, PredictionPart, PredictionSet, Worker
from app.db.queries import workers
from app.db.queries.pages import newest_first
from app.db.queries.progress import pause, unserved
from app.errors import NotFoundError
from app.representations.base import ErrorInfo, Page
from app.representations.parts import PartDocument, PartWorkerDocument

#: Stands for every state but "done".
OPEN: Final = "open"


def list_page(
    session: Session, evaluation_id: str, *, cursor: str | None, limit: int, state: str | None = None
) -> Page[PartDocument]:
    """Parts of the images that an evaluation wants, newest first; other evaluations may want the same ones.

    Args:
        session: to read with.
        evaluation_id: whose.
        cursor: `next` of the page before.
        limit: rows of a page.
        state: only those in this state; "open" are all that are not done.

    Raises:
        NotFoundError: no such evaluation.
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    if session.get(Evaluation, evaluation_id) is None:
        raise NotFoundError("evaluation", evaluation_id)
    wanted = select(EvaluationSet.set_id).where(
        EvaluationSet.evaluation_id == evaluation_id,
        EvaluationSet.set_id == PredictionPart.set_id,
        EvaluationSet.stop > PredictionPart.start,
    )
    rows = select(PredictionPart).where(wanted.exists())
    if state == OPEN:
        rows = rows.where(is_open())
    elif state is not None:
        rows = rows.where(PredictionPart.state == state)
    return newest_first(
        session,
        rows.options(joinedload(PredictionPart.prediction_set).joinedload(PredictionSet.checkpoint)),
        (PredictionPart.created_at, PredictionPart.id),
        cursor=cursor,
        limit=limit,
        render=lambda found: _documents(session, found),
    )


def _documents(session: Session, rows: Sequence[PredictionPart]) -> list[PartDocument]:
    ids = {row.worker_id for row in rows if row.worker_id}
    holders = {worker.id: worker for worker in session.scalars(select(Worker).where(Worker.id.in_(ids)))}
    at = now(session)
    nobody = (
        unserved(workers.alive(session), "predict") if any(row.state == LeaseState.PENDING for row in rows) else None
    )
    return [_document(row, holders.get(row.worker_id or ""), at, nobody) for row in rows]


def _document(row: PredictionPart, holder: Worker | None, at: dt.datetime, nobody: str | None) -> PartDocument:
    view = row.prediction_set.view
    return PartDocument(
        id=row.id,
        set_id=row.set_id,
        checkpoint=row.prediction_set.checkpoint.name,
        mode=view["mode"],
        scale=view["scale"] or None,
        start=row.start,
        stop=row.stop,
        state=row.state,
        worker=None
        if holder is None
        else PartWorkerDocument(id=holder.id, name=holder.name, host=holder.host, last_seen=holder.last_seen),
        lease_until=row.lease_until,
        attempts=row.attempts,
        lost_leases=row.lost_leases,
        batch=row.batch,
        seconds=row.seconds,
        n_unreadable=row.n_unreadable,
        created_at=row.created_at,
        finished_at=row.finished_at,
        waiting_for=_waiting_for(row, holder, at, nobody),
        error=ErrorInfo.of(row.error_code, row.error_message),
    )


def _waiting_for(row: PredictionPart, holder: Worker | None, at: dt.datetime, nobody: str | None) -> str | None:
    if row.state == LeaseState.LEASED:
        return f"being predicted by {holder.name if holder else 'a worker'}"
    if row.state != LeaseState.PENDING:
        return None
    if row.not_before is not None and row.not_before > at:
        return pause(row.not_before, row.error_code, row.error_message)
    return nobody or "waiting for a worker of queue predict to become free; it goes before new images"
