"""Requests that may come twice: the second makes nothing, and is answered with what the first one made."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.db.models import IdempotencyKey
from app.db.statements import changed, insert_new
from app.errors import IdempotencyConflictError
from app.representations.base import Request
from ensembles.canonical import digest


def earlier(session: Session, kind: str, key: str | None, request: Request) -> str | None:
    """The id of what this key's request made before; None where there was none, or no key is given.

    Args:
        session: to read with.
        kind: of what is made; the same key may be used for each kind.
        key: the client's word.
        request: what is asked for now.

    Raises:
        IdempotencyConflictError: the key came before with another request.
    """
    if key is None:
        return None
    columns = select(IdempotencyKey.request_digest, IdempotencyKey.resource_id)
    row = session.execute(columns.where(IdempotencyKey.id == _id(kind, key))).one_or_none()
    if row is None:
        return None
    if row.request_digest != _digest(request):
        raise IdempotencyConflictError(key)
    return str(row.resource_id)


def once(session: Session, kind: str, key: str | None, request: Request, make: Callable[[], str]) -> str:
    """The id that `make` returns; of several transactions with one key one calls it, and the others get its id.

    Args:
        session: of a writing transaction; where `make` fails and it is rolled back, the key is free again.
        kind: of what is made.
        key: the client's word; without one `make` is always called.
        request: what is asked for.
        make: adds the rows in the same transaction.

    Raises:
        IdempotencyConflictError: the key came before with another request.
    """
    if key is None:
        return make()
    own = {"id": _id(kind, key), "request_digest": _digest(request), "resource_id": ""}
    if not insert_new(session, IdempotencyKey, own):
        return earlier(session, kind, key, request) or make()
    resource_id = make()
    changed(session, update(IdempotencyKey).where(IdempotencyKey.id == own["id"]).values(resource_id=resource_id))
    return resource_id


def forget(session: Session, resource_id: str) -> None:
    """Free the keys of something that is deleted: the same request may make it again."""
    changed(session, delete(IdempotencyKey).where(IdempotencyKey.resource_id == resource_id))


def _id(kind: str, key: str) -> str:
    return digest([kind, key])


def _digest(request: Request) -> str:
    return digest(request.model_dump(mode="json"))
