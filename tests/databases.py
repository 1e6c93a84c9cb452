"""Databases for tests: a migrated SQLite file, and a PostgreSQL database that is dropped afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text

from app.db import migrations
from app.db.base import Base
from app.db.session import Database

SERVER = os.environ.get("SOFTVOTE_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/postgres").replace(
    "postgresql+psycopg://", "postgresql://", 1
)


def migrated_sqlite(folder: Path) -> Path:
    """A SQLite file with this release's schema; copies of it are quicker to have than migrations."""
    path = folder / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@contextmanager
def sqlite_copy(template: Path, folder: Path) -> Iterator[Database]:
    """A database of its own from a migrated file."""
    path = folder / "softvote.db"
    shutil.copyfile(template, path)
    db = Database(f"sqlite:///{path}")

    @event.listens_for(db.engine, "connect")
    def _for_tests(connection: Any, _record: object) -> None:
        connection.execute("PRAGMA synchronous=OFF")  # a test does not outlive a power cut
        connection.execute("PRAGMA busy_timeout=60000")  # SQLite's waiting is unfair, and eight threads share two cores

    yield db
    db.dispose()


@contextmanager
def postgresql_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database; without a server the test is skipped, in CI it fails."""
    name = f"softvote_test_{secrets.token_hex(6)}"
    try:
        server = psycopg.connect(SERVER, autocommit=True, connect_timeout=3)
    except psycopg.OperationalError as error:
        reason = f"no PostgreSQL at {SERVER}: {error}"
        if os.environ.get("SOFTVOTE_TEST_REQUIRE_SERVICES") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with server:
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            yield f"{SERVER.replace('postgresql://', 'postgresql+psycopg://', 1).rsplit('/', 1)[0]}/{name}"
        finally:
            server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def empty(db: Database) -> None:
    """Delete every row."""
    names = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with db.write() as session:
        session.execute(text(f"TRUNCATE {names} RESTART IDENTITY CASCADE"))
