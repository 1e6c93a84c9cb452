"""The migrations make exactly the tables of the models, can go back, and never run twice at once."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.config import Settings
from app.db import migrations, models
from app.db.base import Base
from app.db.session import Database
from app.errors import SchemaOutdatedError
from app.runtime import build_runtime
from tests.databases import postgresql_url

SCRIPTS = Path(migrations.SCRIPTS)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'softvote.db'}"
    else:
        with postgresql_url() as empty:
            yield empty


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    database = Database(url)
    yield database
    database.dispose()


def description(db: Database) -> dict[str, Any]:
    """What the database says about its tables, in no order."""
    found: dict[str, Any] = {}
    with db.engine.connect() as connection:
        inspector = inspect(connection)
        for table in inspector.get_table_names():
            if table == "alembic_version":
                continue
            found[table] = {
                "columns": {c["name"]: (str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)},
                "key": inspector.get_pk_constraint(table),
                "checks": {c["name"]: c["sqltext"] for c in inspector.get_check_constraints(table)},
                "foreign keys": {key["name"]: key for key in inspector.get_foreign_keys(table)},
                "unique": {one["name"]: sorted(one["column_names"]) for one in inspector.get_unique_constraints(table)},
                "indexes": {
                    one["name"]: (one["column_names"], {k: str(v) for k, v in one["dialect_options"].items()})
                    for one in inspector.get_indexes(table)
                },
            }
    return found


def test_there_is_one_head() -> None:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.head()]


def test_migrations_make_the_tables_of_the_models(url: str, db: Database, tmp_path: Path) -> None:
    migrations.upgrade(url)
    with db.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
    migrated = description(db)
    migrations.downgrade(url, "base")
    Base.metadata.create_all(db.engine)
    # Alembic compares neither CHECK constraints nor the conditions of partial indexes.
    assert migrated == description(db)
    assert set(migrated) == set(Base.metadata.tables)


def test_upgrading_and_going_back_and_upgrading_again_gives_the_same(url: str, db: Database) -> None:
    migrations.upgrade(url)
    first = description(db)
    migrations.downgrade(url, "base")
    assert migrations.current(db) is None
    assert description(db) == {}
    migrations.upgrade(url)
    assert migrations.current(db) == migrations.head()
    assert description(db) == first


def test_upgrading_an_up_to_date_database_keeps_its_rows(url: str, db: Database) -> None:
    migrations.upgrade(url)
    with db.write() as session:
        session.add(models.Event(kind="kept"))
    migrations.upgrade(url)
    with db.read() as session:
        assert session.query(models.Event.kind).all() == [("kept",)]


def test_f25_two_that_start_at_once_migrate_once(url: str, db: Database) -> None:
    errors: list[Exception] = []

    def upgrade() -> None:
        try:
            migrations.upgrade(url)
        except Exception as error:
            errors.append(error)

    # Without their lock they wait for ever on PostgreSQL; daemons do not keep the test with them.
    starting = [threading.Thread(target=upgrade, daemon=True) for _ in range(4)]
    for one in starting:
        one.start()
    for one in starting:
        one.join(60)
    assert not [one for one in starting if one.is_alive()]
    assert errors == []
    assert migrations.current(db) == migrations.head()


def test_f25_a_process_killed_half_way_leaves_the_old_schema(url: str, db: Database) -> None:
    program = """
import os, signal, sys
from sqlalchemy import event
from app.db import migrations
with migrations.migrating(sys.argv[1]) as connection:
    @event.listens_for(connection, "after_cursor_execute")
    def _kill(_connection, _cursor, statement, *_):
        if "CREATE TABLE evaluations" in statement:
            os.kill(os.getpid(), signal.SIGKILL)
    migrations.command.upgrade(migrations._config(connection), "head")
"""
    killed = subprocess.run([sys.executable, "-c", program, url], cwd=SCRIPTS.parent, check=False)
    assert killed.returncode == -9
    assert description(db) == {}
    migrations.upgrade(url)
    assert set(description(db)) == set(Base.metadata.tables)


def test_f25_a_schema_of_a_newer_release_is_refused(url: str, db: Database) -> None:
    migrations.upgrade(url)
    with db.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'future'"))
    for refused in (lambda: migrations.upgrade(url), lambda: migrations.check(db)):
        with pytest.raises(SchemaOutdatedError, match=r"at future, this release needs .*; a newer release made it"):
            refused()
    assert "evaluations" in description(db)


def test_a_process_refuses_an_old_schema_unless_it_may_migrate(url: str, db: Database, tmp_path: Path) -> None:
    environment = {"SOFTVOTE_HOME": str(tmp_path / "home"), "SOFTVOTE_DATABASE_URL": url}
    settings = Settings.from_environment(environment)
    with pytest.raises(SchemaOutdatedError, match="at no revision"):
        build_runtime(settings)
    runtime = build_runtime(settings, migrate=True)
    runtime.db.dispose()
    build_runtime(settings).db.dispose()
    assert runtime.artifacts.root == settings.artifacts
    assert all(folder.is_dir() for folder in (settings.artifacts, *settings.data_roots, *settings.checkpoint_roots))
    assert settings.home.stat().st_mode & 0o077 == 0


def test_a_step_that_leaves_rows_pointing_nowhere_is_rolled_back_on_sqlite(tmp_path: Path) -> None:
    """While a step copies tables, SQLite's foreign keys are off; they are checked before it is committed."""
    url = f"sqlite:///{tmp_path / 'softvote.db'}"
    migrations.upgrade(url)
    lost = "INSERT INTO evaluation_members VALUES ('e', 0, 'c', '{}', NULL, 1.0)"
    with pytest.raises(RuntimeError, match="left 2 rows that point nowhere"), migrations.migrating(url) as connection:
        connection.execute(text(lost))
    with migrations.migrating(url) as connection:
        assert connection.execute(text("SELECT count(*) FROM evaluation_members")).scalar_one() == 0


def test_no_name_is_longer_than_postgresql_allows() -> None:
    names = [
        str(item.name)
        for table in Base.metadata.tables.values()
        for item in (*table.constraints, *table.indexes, *table.columns)
    ]
    assert [name for name in names if len(name) > 63] == []
