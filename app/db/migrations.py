"""Brings a database to this release's schema, one process at a time. The steps themselves lie in /migrations."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, event, text

from app.db.session import Database
from app.errors import SchemaOutdatedError

SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"
#: Key of the advisory lock on PostgreSQL: any number, as long as every release uses the same.
_LOCK_KEY = 0x736F6674


def head() -> str:
    """The revision that this release's tables are at."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError(f"no migrations under {SCRIPTS}")
    return revision


def current(db: Database) -> str | None:
    """The revision that the database is at; None when it is empty.

    Raises:
        DatabaseUnavailableError: the database does not answer.
    """
    with db.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision()


def check(db: Database) -> None:
    """Make sure that the database can be worked with.

    Raises:
        DatabaseUnavailableError: the database does not answer.
        SchemaOutdatedError: its schema is not this release's.
    """
    found, expected = current(db), head()
    if found != expected:
        raise SchemaOutdatedError(found, expected, newer=_is_unknown(found))


def _is_unknown(revision: str | None) -> bool:
    """Whether this release has no such revision: then a newer one made the schema."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return revision is not None and revision not in known


def upgrade(url: str) -> None:
    """Bring the database to `head()`; whoever comes second waits, and then finds nothing to do.

    Raises:
        SchemaOutdatedError: the database is at a revision that this release does not know, so a newer one made it.
    """
    with migrating(url) as connection:
        found = MigrationContext.configure(connection).get_current_revision()
        if _is_unknown(found):
            raise SchemaOutdatedError(found, head(), newer=True)
        command.upgrade(_config(connection), "head")


def downgrade(url: str, revision: str) -> None:
    """Go back to `revision`, or to an empty database with "base". Data of what is dropped is lost."""
    with migrating(url) as connection:
        command.downgrade(_config(connection), revision)


@contextmanager
def migrating(url: str) -> Iterator[Connection]:
    """A connection inside one transaction that no other migration shares.

    DDL is transactional on both databases: a process killed half way leaves the old schema.
    """
    if url.startswith("sqlite:///"):
        with _file_lock(Path(url.removeprefix("sqlite:///"))), _sqlite_connection(url) as connection:
            yield connection
        return
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK_KEY})
        yield connection


@contextmanager
def _sqlite_connection(url: str) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)

    @event.listens_for(engine, "connect")
    def _on_connect(connection: object, _record: object) -> None:
        # Batch mode drops and renames tables, which enforced foreign keys would cascade from; they are checked at the
        # end instead. The driver's own transactions would commit before DDL.
        connection.isolation_level = None  # type: ignore[attr-defined]
        connection.execute("PRAGMA foreign_keys=OFF")  # type: ignore[attr-defined]

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    with engine.begin() as connection:
        yield connection
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise RuntimeError(f"a migration left {len(broken)} rows that point nowhere, first {tuple(broken[0])}")


@contextmanager
def _file_lock(database: Path) -> Iterator[None]:
    database.parent.mkdir(parents=True, exist_ok=True)
    with database.with_name(f"{database.name}.migrate.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
