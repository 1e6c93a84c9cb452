"""The images of a data set, read from its stored index."""

from __future__ import annotations

from app.artifacts import ArtifactStore
from app.db.models import Dataset, RegistrationState
from app.db.queries.lookup import find
from app.db.queries.pages import check_limit, invalid_cursor
from app.db.session import Database
from app.errors import NotReadyError
from app.representations.base import Page
from app.representations.catalogue import ImageDocument
from app.services.datasets import load_index
from ensembles.datasets import printable_id


def list_page(
    db: Database, artifacts: ArtifactStore, key: str, *, cursor: str | None, limit: int
) -> Page[ImageDocument]:
    """Images of a data set in canonical order.

    Raises:
        NotFoundError: no such data set.
        NotReadyError: no worker has read it yet.
        ArtifactDamagedError: the stored index is missing or different.
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    check_limit(limit)
    with db.read() as session:
        row = find(session, Dataset, key)
    if row.state != RegistrationState.READY:
        raise NotReadyError("data set", row.name, row.state)
    index = load_index(artifacts, row)
    start = 0 if cursor is None else _position(cursor)
    stop = start + limit
    documents = [
        ImageDocument(
            index=position,
            id=printable_id(image.id),
            label=image.label,
            class_name=index.classes[image.label],
            sha256=image.sha256,
            width=image.width,
            height=image.height,
        )
        for position, image in enumerate(index.images[start:stop], start)
    ]
    return Page[ImageDocument](items=documents, next=str(stop) if stop < len(index.images) else None)


def _position(cursor: str) -> int:
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise invalid_cursor(cursor)
    return int(cursor)
