"""Every test here runs on SQLite and on PostgreSQL: what holds on one and not on the other does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.db import migrations
from app.db.session import Database
from tests.catalogue import Catalogue
from tests.databases import empty, migrated_sqlite, postgresql_url, sqlite_copy


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return migrated_sqlite(tmp_path_factory.mktemp("sqlite"))


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Database]:
    with postgresql_url() as url:
        migrations.upgrade(url)
        db = Database(url)
        yield db
        db.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.services)])
def db(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    if request.param == "sqlite":
        with sqlite_copy(request.getfixturevalue("sqlite_template"), tmp_path) as database:
            yield database
    else:
        database = request.getfixturevalue("postgresql")
        empty(database)
        yield database


@pytest.fixture
def catalogue(db: Database, tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "home", db)
