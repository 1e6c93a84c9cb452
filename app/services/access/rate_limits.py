"""How often something may be tried.

The counts are rows: they hold for all web processes together and survive a restart, and a broker that is down changes
nothing. What is counted writes to the database anyway.
"""

from __future__ import annotations

import datetime as dt
import math

from sqlalchemy import case, delete
from sqlalchemy.dialects import postgresql, sqlite

from app.db.clock import now
from app.db.models import RateWindow
from app.db.session import Database
from app.errors import RateLimitedError
from app.services.access.secret_texts import hashed

LOGINS_PER_NAME = 5
LOGINS_PER_ADDRESS = 20
REQUESTS_PER_CALLER = 60

_WINDOW = dt.timedelta(minutes=1)
#: Rows that nobody looks at any more go when a new window begins.
_KEPT = dt.timedelta(hours=1)


def spend(db: Database, what: str, key: str, per_minute: int) -> None:
    """Count one try in the minute that began with the first.

    Args:
        db: where tries are counted.
        what: is tried, for the message.
        key: who tries; only its hash is kept.
        per_minute: tries that are allowed.

    Raises:
        RateLimitedError: there were as many in this minute.
    """
    with db.write() as session:
        at = now(session)
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        over = RateWindow.started_at <= at - _WINDOW
        counted = (
            insert(RateWindow)
            .values(id=hashed(f"{what}\n{key}"), started_at=at, tries=1)
            .on_conflict_do_update(
                index_elements=[RateWindow.id],
                set_={
                    "tries": case((over, 1), else_=RateWindow.tries + 1),
                    "started_at": case((over, at), else_=RateWindow.started_at),
                },
            )
            .returning(RateWindow.tries, RateWindow.started_at)
        )
        tries, started_at = session.execute(counted).one()
        if tries == 1:
            session.execute(delete(RateWindow).where(RateWindow.started_at < at - _KEPT))
    if tries > per_minute:
        left = (started_at + _WINDOW - at).total_seconds()
        raise RateLimitedError(what, per_minute, max(1, math.ceil(left)))
