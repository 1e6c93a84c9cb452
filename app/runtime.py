"""Composition root: what one process of the service works with, built once and passed on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from app import fault_points
from app.artifacts import ArtifactStore
from app.config import Settings
from app.db import migrations, sqlite_file
from app.db.session import Database
from app.errors import ConfigurationError, DatabaseDamagedError, ServiceError
from ensembles.errors import Problem


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
        ConfigurationError: the environment breaks a rule, or a folder may not be written.
        SchemaOutdatedError: the schema is not this release's.
        DatabaseUnavailableError: the database does not answer.
        DatabaseDamagedError: the SQLite file is damaged, or is gone while what it names is there.
    """
    settings = settings or Settings.from_environment()
    if settings.fault is not None:
        fault_points.arm(settings.fault)
    _make_folders(settings)
    if settings.sqlite:
        sqlite_file.check(settings.database_url)
    db, artifacts = Database(settings.database_url), ArtifactStore(settings.artifacts)
    try:
        if migrate and (found := migrations.current(db)) != migrations.head():
            if found is None and settings.sqlite:
                _refuse_to_begin_anew(settings, artifacts)
            migrations.upgrade(settings.database_url)
        migrations.check(db)
    except ServiceError:
        db.dispose()
        raise
    return Runtime(settings, db, artifacts)


def _refuse_to_begin_anew(settings: Settings, artifacts: ArtifactStore) -> None:
    """An empty database beside results is one that was lost: new tables would make the loss look like a first start."""
    kept = next((file.key for file in artifacts.files() if not file.unfinished), None)
    if kept is not None:
        raise DatabaseDamagedError(
            settings.database_url.removeprefix("sqlite:///"),
            f"it is empty, while {str(artifacts.root)!r} holds results such as {kept!r}"
            " (to begin anew, remove that folder)",
        )


def _make_folders(settings: Settings) -> None:
    """The folders of the embedded default; roots that lie elsewhere are the operator's to make.

    Raises:
        ConfigurationError: one cannot be made.
    """
    own: list[tuple[str, Path]] = [("SOFTVOTE_HOME", settings.home), ("SOFTVOTE_ARTIFACTS", settings.artifacts)]
    if settings.sqlite:
        own.append(("SOFTVOTE_DATABASE_URL", Path(settings.database_url.removeprefix("sqlite:///")).parent))
    roots = {"SOFTVOTE_DATA_ROOTS": settings.data_roots, "SOFTVOTE_CHECKPOINT_ROOTS": settings.checkpoint_roots}
    for name, folders in roots.items():
        own += [(name, folder) for folder in folders if folder.is_relative_to(settings.home)]
    for name, folder in own:
        try:
            # Only its owner looks into the data folder: it holds the secret key.
            folder.mkdir(mode=0o700 if folder == settings.home else 0o777, parents=True, exist_ok=True)
        except OSError as error:
            rule = f"a folder that is there or can be made ({error.strerror})"
            raise ConfigurationError([Problem(name, rule, str(folder))]) from error
