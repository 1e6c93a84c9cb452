"""What every table shares: naming, identifiers, UTC times, and the columns of a lease."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from sqlalchemy import JSON, CheckConstraint, DateTime, Dialect, MetaData, String, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[dt.datetime]):
    """An aware UTC datetime on every database; SQLite alone would give naive ones back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """Refuse a naive datetime, store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a naive datetime cannot be stored: {value!r}")
        return value.astimezone(dt.UTC)

    def process_result_value(self, value: dt.datetime | None, dialect: Dialect) -> dt.datetime | None:  # noqa: ARG002
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        dt.datetime: UtcDateTime(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
        list[Any]: JSON(),
    }


def new_id() -> str:
    """24 hex digits: 48 bits of milliseconds, then 48 random bits, so ids sort by time of creation."""
    return f"{int(time.time() * 1000):012x}{secrets.token_hex(6)}"


def utc_now() -> dt.datetime:
    """The present moment, aware."""
    return dt.datetime.now(dt.UTC)


#: Stands for "not yet" where a time must sort before every other.
NEVER = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

Id = Annotated[str, mapped_column(String(24), primary_key=True, default=new_id)]


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """That the column holds one of the enumeration's values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class LeaseState(StrEnum):
    """Of a prediction part or work item."""

    PENDING = "pending"
    LEASED = "leased"
    DONE = "done"
    FAILED = "failed"


class LeaseColumns:
    """What a row needs to be worked on under a lease: owner, fencing token, deadline, history.

    Attributes:
        worker_id: the holder; kept after the end, as who did it.
        token: rises with every lease; a commit with an older token is refused.
        lease_until: when the lease lapses unless renewed; None when nobody holds it.
        attempts: leases that ended in an error.
        lost_leases: leases whose holder vanished.
        not_before: earliest next lease, after a transient error.
    """

    worker_id: Mapped[str | None] = mapped_column(String(24))
    token: Mapped[int] = mapped_column(default=0)
    lease_until: Mapped[dt.datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    lost_leases: Mapped[int] = mapped_column(default=0)
    not_before: Mapped[dt.datetime | None]
    error_code: Mapped[str | None] = mapped_column(String(64))
    error_message: Mapped[str | None]
    created_at: Mapped[dt.datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[dt.datetime | None]
