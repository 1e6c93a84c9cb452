"""Rows that people name."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.db.models import Checkpoint, Dataset, Ensemble
from app.errors import NotFoundError

Named = TypeVar("Named", Checkpoint, Dataset, Ensemble)

#: How messages call a row of each table.
KINDS: dict[type[Checkpoint] | type[Dataset] | type[Ensemble], str] = {
    Checkpoint: "checkpoint",
    Dataset: "data set",
    Ensemble: "ensemble",
}


def find(session: Session, table: type[Named], key: str) -> Named:
    """The row with this id or name.

    Raises:
        NotFoundError: there is none; near names are suggested.
    """
    rows = session.scalars(select(table).where(or_(table.id == key, table.name == key))).all()
    if not rows:
        raise NotFoundError(KINDS[table], key, session.scalars(select(table.name)))
    return next((row for row in rows if row.id == key), rows[0])
