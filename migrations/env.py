"""What Alembic runs: on the connection that `app.db.migrations` hands in, or on its own when called from a shell."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection

from app.config import Settings
from app.db import models  # noqa: F401 - the tables register themselves in the metadata
from app.db.base import Base, UtcDateTime
from app.db.migrations import migrating


def render_item(kind: str, item: Any, _context: object) -> str | Literal[False]:
    """Write our own types as the plain ones they are stored as: a step must not change when the service's code does."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(connection: Connection) -> None:
    """Run the requested steps inside the connection's transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter most of a table in place; batch mode copies it.
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


connection = context.config.attributes.get("connection")
if connection is not None:
    run(connection)
else:
    with migrating(Settings.from_environment().database_url) as connection:
        run(connection)
