"""Reads of data sets."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Dataset
from app.db.queries.lookup import find
from app.db.queries.pages import newest_first
from app.representations.base import ErrorInfo, Page
from app.representations.catalogue import DatasetDocument


def get(session: Session, key: str) -> DatasetDocument:
    """The data set with this id or name.

    Raises:
        NotFoundError: there is none.
    """
    return _document(find(session, Dataset, key))


def list_page(session: Session, *, cursor: str | None, limit: int) -> Page[DatasetDocument]:
    """Data sets, newest first."""
    by = (Dataset.created_at, Dataset.id)
    return newest_first(session, select(Dataset), by, cursor=cursor, limit=limit, render=_documents)


def _documents(rows: Sequence[Dataset]) -> list[DatasetDocument]:
    return [_document(row) for row in rows]


def _document(row: Dataset) -> DatasetDocument:
    return DatasetDocument(
        id=row.id,
        name=row.name,
        state=row.state,
        error=ErrorInfo.of(row.error_code, row.error_message),
        format=row.format,
        images=row.images,
        classes=None if row.classes is None else len(row.classes),
        class_names=row.classes,
        fingerprint=row.fingerprint,
        source=row.source,
        label_source=row.label_source,
        created_at=row.created_at,
    )
