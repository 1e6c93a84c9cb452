"""Transactions: one way to read, one way to write, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from app.errors import DatabaseDamagedError, DatabaseUnavailableError

#: Seconds a SQLite writer waits for another before it gives up.
BUSY_SECONDS = 10
#: What SQLite says of a file that is none, or that contradicts itself; the low byte of its codes.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class Database:
    """The engine and its two kinds of transaction."""

    def __init__(self, url: str) -> None:
        self.url = url
        if url.startswith("sqlite:///"):
            Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})
            _prepare_sqlite(self.engine)
        else:
            self.engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A snapshot to read from; nothing is written.

        Raises:
            DatabaseUnavailableError: the database does not answer.
            DatabaseDamagedError: the SQLite file is damaged.
        """
        with _named_errors(self.url), Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction, committed at the end and rolled back on an error.

        On SQLite it begins IMMEDIATE: a transaction that read first and then wanted to write would fail at once with
        "database is locked" if another writer came between, however long the timeout.

        Raises:
            DatabaseUnavailableError: the database does not answer or stays locked.
            DatabaseDamagedError: the SQLite file is damaged.
        """
        engine = self.engine.execution_options(write=True)
        with _named_errors(self.url), Session(engine, expire_on_commit=False) as session, session.begin():
            yield session

    def dispose(self) -> None:
        """Close every pooled connection, as a process does before it forks or ends."""
        self.engine.dispose()


@contextmanager
def _named_errors(url: str) -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise DatabaseUnavailableError(f"the database does not answer: {error.orig}") from error
    except DBAPIError as error:
        if getattr(error.orig, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise DatabaseDamagedError(url.removeprefix("sqlite:///"), str(error.orig)) from error
        if error.connection_invalidated:
            raise DatabaseUnavailableError(f"the database connection broke: {error.orig}") from error
        raise


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: object) -> None:
        # Python's own transaction handling would begin late and deferred; BEGIN is ours (below).
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # "202" means on disk, through a power cut too
            "foreign_keys=ON",
            "journal_size_limit=67108864",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
