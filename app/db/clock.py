"""The one clock that leases are measured with."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.base import UtcDateTime, utc_now

_DATABASE_TIME = select(func.clock_timestamp(type_=UtcDateTime()))


def now(session: Session) -> dt.datetime:
    """The database's time on PostgreSQL, where hosts' clocks may differ; the host's on SQLite, which has one host."""
    if session.get_bind().dialect.name == "postgresql":
        return session.execute(_DATABASE_TIME).scalar_one()
    return utc_now()
