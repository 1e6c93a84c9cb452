"""Reads of saved ensembles."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.models import Checkpoint, Ensemble, SavedMember
from app.db.queries.lookup import find
from app.db.queries.pages import contains, newest_first
from app.representations.base import Page
from app.representations.ensembles import ChoiceDocument, EnsembleDocument, EnsembleMemberDocument

_WHOLE = selectinload(Ensemble.members).options(joinedload(SavedMember.checkpoint).load_only(Checkpoint.name))


def get(session: Session, key: str) -> EnsembleDocument:
    """The ensemble with this id or name.

    Raises:
        NotFoundError: there is none.
    """
    return _document(find(session, Ensemble, key))


def is_saved(session: Session, ensemble_id: str) -> bool:
    """Whether the ensemble with this id is still there: evaluations of it outlive it."""
    return session.get(Ensemble, ensemble_id) is not None


def list_page(session: Session, *, cursor: str | None, limit: int, search: str | None = None) -> Page[EnsembleDocument]:
    """Ensembles, newest first; `search` looks into name and notes.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    rows = select(Ensemble).options(_WHOLE)
    if search:
        pattern = contains(search)
        rows = rows.where(Ensemble.name.ilike(pattern, escape="\\") | Ensemble.notes.ilike(pattern, escape="\\"))
    by = (Ensemble.created_at, Ensemble.id)
    return newest_first(session, rows, by, cursor=cursor, limit=limit, render=_documents)


def _documents(rows: Sequence[Ensemble]) -> list[EnsembleDocument]:
    return [_document(row) for row in rows]


def _document(row: Ensemble) -> EnsembleDocument:
    return EnsembleDocument.model_validate(
        {
            "id": row.id,
            "name": row.name,
            "notes": row.notes,
            "rule": row.rule,
            "temperature": row.temperature,
            "members": [_member(member) for member in row.members],
            "chosen": None if row.chosen is None else ChoiceDocument.model_validate(row.chosen),
            "created_at": row.created_at,
            "links": {"self": f"/api/v1/ensembles/{row.id}"},
        }
    )


def _member(member: SavedMember) -> EnsembleMemberDocument:
    modes = member.protocol["modes"]
    return EnsembleMemberDocument(
        checkpoint=member.checkpoint.name,
        scales=member.protocol.get("scales", []),
        mode=modes[0] if len(modes) == 1 else "both",
        weight=member.weight,
        protocol=member.protocol,
    )
