"""Lists newest first, page by page: the cursor names the last row shown, so rows that come meanwhile shift nothing."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import InvalidRequestError
from app.representations.base import Page
from ensembles.errors import Problem

MAX_LIMIT = 200

_ID = re.compile("[0-9a-f]{24}")

Row = TypeVar("Row")
Item = TypeVar("Item")


def newest_first(
    session: Session,
    rows: Select[Row],
    columns: tuple[InstrumentedAttribute[dt.datetime], InstrumentedAttribute[str]],
    *,
    cursor: str | None,
    limit: int,
    render: Callable[[Sequence[Row]], list[Item]],
) -> Page[Item]:
    """One page of `rows`.

    Args:
        session: to read with.
        rows: what to list.
        columns: the time and the id of a row; the id decides between rows of one moment.
        cursor: `next` of the page before, or None for the first.
        limit: rows of a page, 1 to 200.
        render: makes documents of rows, in the same order.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    check_limit(limit)
    time, key = columns
    if cursor is not None:
        moment, last_id = _decode(cursor)
        rows = rows.where(tuple_(time, key) < tuple_(moment, last_id))
    # One more than a page tells whether there is a next one.
    found = session.scalars(rows.order_by(time.desc(), key.desc()).limit(limit + 1)).all()
    shown = found[:limit]
    following = _encode(getattr(shown[-1], time.key), getattr(shown[-1], key.key)) if len(found) > limit else None
    return Page(items=render(shown), next=following)


def check_limit(limit: int) -> None:
    """The rule for the length of a page."""
    if not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequestError([Problem("limit", f"a whole number from 1 to {MAX_LIMIT}", limit)])


def invalid_cursor(cursor: str) -> InvalidRequestError:
    """What a cursor that no list gave out is answered with."""
    return InvalidRequestError([Problem("cursor", "the `next` of a page of this list", cursor)])


def _encode(moment: dt.datetime, row_id: str) -> str:
    text = json.dumps([moment.isoformat(), row_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def _decode(cursor: str) -> tuple[dt.datetime, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        moment, row_id = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        parsed = dt.datetime.fromisoformat(moment)
    except (binascii.Error, ValueError, TypeError):
        raise invalid_cursor(cursor) from None
    # Ours are in UTC and name a row's id; anything else would only fail later, in the database.
    if parsed.utcoffset() != dt.timedelta(0) or not (isinstance(row_id, str) and _ID.fullmatch(row_id)):
        raise invalid_cursor(cursor)
    return parsed, row_id


def contains(text: str) -> str:
    """A LIKE pattern for what contains `text`; it escapes with a backslash."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
