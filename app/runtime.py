"""Composition root: what one process of the service works with, built once and passed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app import fault_points
from app.artifacts import ArtifactStore
from app.config import Settings
from app.db import migrations
from app.db.session import Database
from app.errors import ServiceError


@dataclass(frozen=True)
class Runtime:
    """Settings, database and artifacts of one process."""

    settings: Settings
    db: Database
    artifacts: ArtifactStore


def build_runtime(settings: Settings | None = None, *, migrate: bool = False) -> Runtime:
    """Make the data folders, open the database and check its schema.

    Args:
        settings: read from the environment when not given.
        migrate: bring the schema up to date instead of refusing an old one.

    Raises:
        ConfigurationError: the environment breaks a rule.
        SchemaOutdatedError: the schema is not this release's.
        DatabaseUnavailableError: the database does not answer.
    """
    settings = settings or Settings.from_environment()
    if settings.fault is not None:
        fault_points.arm(settings.fault)
    _make_folders(settings)
    db = Database(settings.database_url)
    try:
        if migrate and migrations.current(db) != migrations.head():
            migrations.upgrade(settings.database_url)
        migrations.check(db)
    except ServiceError:
        db.dispose()
        raise
    return Runtime(settings, db, ArtifactStore(settings.artifacts))


def _make_folders(settings: Settings) -> None:
    """The folders of the embedded default; roots that lie elsewhere are the operator's to make."""
    # Only its owner looks into the data folder: it holds the secret key.
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    own: list[Path] = [settings.artifacts]
    own += [root for root in (*settings.data_roots, *settings.checkpoint_roots) if root.is_relative_to(settings.home)]
    for folder in own:
        folder.mkdir(parents=True, exist_ok=True)
