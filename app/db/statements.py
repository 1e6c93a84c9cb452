"""The few statements that correctness rests on, spelled once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, Table, Update, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.db.base import Base


def changed(session: Session, statement: Update | Delete, values: Mapping[str, Any] | None = None) -> int:
    """Run a conditional UPDATE or DELETE, with `values` for its parameters; how many rows met its condition."""
    result = session.execute(statement, values, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def insert_new(session: Session, table: type[Base], values: Mapping[str, Any]) -> bool:
    """Insert a row unless one with the same unique values exists, or is being inserted by someone else; whether it was.

    On PostgreSQL it waits for that other transaction, and a SELECT afterwards sees its row.
    """
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).values(**values).on_conflict_do_nothing().returning(_key(table))
    return session.execute(statement).first() is not None


def lock_rows(session: Session, table: type[Base], ids: Collection[str]) -> None:
    """Lock rows in the order of their ids, so that two transactions that lock some of the same never deadlock.

    A writing transaction on SQLite holds the only lock there is; the SELECT does nothing there.
    """
    if ids and session.get_bind().dialect.name == "postgresql":
        key = _key(table)
        session.execute(select(key).where(key.in_(ids)).order_by(key).with_for_update(key_share=True)).all()


def table_of(model: type[Base]) -> Table:
    """The table of a class, for statements that are run often: through the class the ORM would do more."""
    return cast("Table", model.__table__)


def _key(table: type[Base]) -> InstrumentedAttribute[str]:
    key: InstrumentedAttribute[str] = table.id  # type: ignore[attr-defined]
    return key
