"""Reads of checkpoints."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import String, cast, or_, select
from sqlalchemy.orm import Session

from app.db.models import Checkpoint, RegistrationState
from app.db.queries.lookup import find
from app.db.queries.pages import contains, newest_first
from app.errors import NotReadyError
from app.representations.base import ErrorInfo, Page
from app.representations.catalogue import CheckpointDocument, LayerDocument
from ensembles.architectures import architecture_from_dict


def get(session: Session, key: str) -> CheckpointDocument:
    """The checkpoint with this id or name.

    Raises:
        NotFoundError: there is none.
    """
    return _document(find(session, Checkpoint, key))


def list_page(
    session: Session, *, cursor: str | None, limit: int, search: str | None = None
) -> Page[CheckpointDocument]:
    """Checkpoints, newest first; `search` looks into name, architecture, tags and notes."""
    rows = select(Checkpoint)
    if search:
        columns = (Checkpoint.name, Checkpoint.architecture_name, cast(Checkpoint.tags, String), Checkpoint.notes)
        rows = rows.where(or_(*(column.ilike(contains(search), escape="\\") for column in columns)))
    by = (Checkpoint.created_at, Checkpoint.id)
    return newest_first(session, rows, by, cursor=cursor, limit=limit, render=_documents)


def layers(session: Session, key: str) -> list[LayerDocument]:
    """The layer table of the checkpoint's network at its training crop; imported predictions have none.

    Raises:
        NotFoundError: no such checkpoint.
        NotReadyError: no worker has read the file yet.
    """
    row = find(session, Checkpoint, key)
    if row.state == RegistrationState.READY and row.architecture is None:
        return []
    if row.architecture is None:
        raise NotReadyError("checkpoint", row.name, row.state)
    return [
        LayerDocument(
            name=layer.name, type=layer.type, output_shape=list(layer.output_shape), parameters=layer.parameters
        )
        for layer in architecture_from_dict(row.architecture).layers()
    ]


def _documents(rows: Sequence[Checkpoint]) -> list[CheckpointDocument]:
    return [_document(row) for row in rows]


def _document(row: Checkpoint) -> CheckpointDocument:
    architecture = row.architecture or {}
    network = architecture_from_dict(architecture) if architecture else None
    jitter = (row.training_scale_min, row.training_scale_max)
    return CheckpointDocument(
        id=row.id,
        name=row.name,
        state=row.state,
        error=ErrorInfo.of(row.error_code, row.error_message),
        sha256=row.sha256,
        fingerprint=row.fingerprint,
        architecture=row.architecture_name,
        configuration=architecture.get("configuration"),
        batch_norm=architecture.get("batch_norm"),
        width=architecture.get("width"),
        classes=row.classes,
        crop=architecture.get("crop"),
        training_scale=None if jitter[0] is None or jitter[1] is None else [jitter[0], jitter[1]],
        parameters=row.parameters,
        gmacs=None if row.macs is None else row.macs / 1e9,
        preprocessing=row.preprocessing,
        recipe=network and {"resize": network.recipe.resize, "interpolation": network.recipe.interpolation},
        dense_refusal=network and network.dense_refusal,
        class_names=row.class_names,
        source=row.source,
        size_bytes=row.size_bytes,
        tags=row.tags,
        notes=row.notes,
        created_at=row.created_at,
    )
