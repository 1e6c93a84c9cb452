"""Reads of the history."""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db.models import Event
from app.db.queries.pages import check_limit, invalid_cursor
from app.representations.base import Page
from app.representations.catalogue import EventDocument


def list_page(
    session: Session, *, cursor: str | None, limit: int, evaluation: str | None = None, subject: str | None = None
) -> Page[EventDocument]:
    """Events, newest first; of one evaluation, or of one part, item, checkpoint or data set, if asked for.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    check_limit(limit)
    rows = select(Event).order_by(Event.id.desc()).limit(limit + 1)
    if evaluation is not None:
        rows = rows.where(Event.evaluation_id == evaluation)
    if subject is not None:
        rows = rows.where(or_(Event.subject_id == subject, Event.evaluation_id == subject))
    if cursor is not None:
        if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
            raise invalid_cursor(cursor)
        rows = rows.where(Event.id < int(cursor))
    found = session.scalars(rows).all()
    shown = found[:limit]
    return Page[EventDocument](
        items=[_document(row) for row in shown], next=str(shown[-1].id) if len(found) > limit else None
    )


def _document(row: Event) -> EventDocument:
    return EventDocument(
        id=row.id,
        at=row.at,
        kind=row.kind,
        evaluation=row.evaluation_id,
        subject=row.subject_id,
        worker=row.worker_id,
        token=row.token,
        detail=row.detail,
    )
