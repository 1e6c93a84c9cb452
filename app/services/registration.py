"""What registering checkpoints and data sets share: a row at once, its facts when a worker has read the files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.models import Checkpoint, Dataset, RegistrationState, WorkItem
from app.db.queries.lookup import KINDS
from app.db.statements import changed, insert_new
from app.errors import NameTakenError
from app.services import events

Registered = type[Checkpoint] | type[Dataset]


def begin(session: Session, table: Registered, name: str, columns: Mapping[str, Any], item: WorkItem) -> str:
    """Add a row in state `registering` with its work item; a failed row of the same name starts again.

    Raises:
        NameTakenError: a row of that name exists and has not failed.
    """
    fresh = {**columns, "state": RegistrationState.REGISTERING, "error_code": None, "error_message": None}
    row_id = new_id()
    if not insert_new(session, table, {**fresh, "id": row_id, "name": name}):
        again = update(table).where(table.name == name, table.state == RegistrationState.FAILED).values(**fresh)
        if not changed(session, again):
            raise NameTakenError(KINDS[table], name)
        row_id = session.scalars(select(table.id).where(table.name == name)).one()
    if table is Checkpoint:
        item.checkpoint_id = row_id
    else:
        item.dataset_id = row_id
    session.add(item)
    events.record(session, f"{item.kind}_requested", subject_id=row_id, name=name)
    return row_id


def settle(session: Session, table: Registered, row_id: str | None, state: RegistrationState, **columns: Any) -> None:
    """Move a row that is being registered to its end: `ready` with its facts, or `failed` with its error."""
    registering = (table.id == row_id, table.state == RegistrationState.REGISTERING)
    changed(session, update(table).where(*registering).values(state=state, **columns))
