"""Files that no row names: what killed and fenced workers leave in the store is removed after a while."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.models import EvaluationOutcomes, LeaseState, PredictionPart, WorkItem
from app.db.session import Database
from app.services.artifact_keys import CONTENDERS, LeasedFile, written_under

#: A file is first written and then named by a row; so long nobody takes it for left behind.
GRACE_SECONDS = 3600.0
#: So long a table of contenders is kept, which is made again where somebody asks.
TABLE_SECONDS = 30 * 86_400.0
#: Files that one look into the database judges.
_BATCH = 500


@dataclass(frozen=True)
class CollectionReport:
    """What one collection removed.

    Attributes:
        files: finished files that no row names, and old tables of contenders.
        unfinished: files that were never written to their end.
        size_bytes: of both.
    """

    files: int
    unfinished: int
    size_bytes: int


def collect(db: Database, artifacts: ArtifactStore, grace_seconds: float = GRACE_SECONDS) -> CollectionReport:
    """Remove what is older than `grace_seconds` and belongs to nothing.

    Only a file whose own part or item is in this database is judged: files of another service that was given the same
    folder, and whatever a person put there, stay. So does a file under a lease that may still complete.

    Args:
        db: the database.
        artifacts: the store.
        grace_seconds: how old a file must be.
    """
    before = time.time() - grace_seconds
    old = [file for file in artifacts.files() if file.modified < before]
    unfinished = [file for file in old if file.unfinished]
    finished = [(file, lease) for file in old if not file.unfinished and (lease := written_under(file.key))]
    oldest_table = time.time() - max(TABLE_SECONDS, grace_seconds)
    tables = [file for file in old if not file.unfinished and file.key.startswith(CONTENDERS)]
    orphans = [file for file in tables if file.modified < oldest_table]
    for start in range(0, len(finished), _BATCH):
        some = finished[start : start + _BATCH]
        with db.read() as session:
            parts, items = (_states(session, [lease for _, lease in some], kind) for kind in ("part", "item"))
            named = _named(session, [file.key for file, _ in some])
        for file, lease in some:
            known = (parts if lease.kind == "part" else items).get(lease.row_id)
            may_complete = known == (LeaseState.LEASED, lease.token)
            if known is not None and not may_complete and file.key not in named:
                orphans.append(file)
    for file in (*unfinished, *orphans):
        artifacts.delete(file.key)
    size_bytes = sum(file.size_bytes for file in (*unfinished, *orphans))
    return CollectionReport(len(orphans), len(unfinished), size_bytes)


def _states(session: Session, leases: Sequence[LeasedFile], kind: str) -> Mapping[str, tuple[str, int]]:
    """State and token of the rows behind leases of one kind; a token only rises, so what is over stays over."""
    table = PredictionPart if kind == "part" else WorkItem
    ids = {lease.row_id for lease in leases if lease.kind == kind}
    rows = session.execute(select(table.id, table.state, table.token).where(table.id.in_(ids)))
    return {row_id: (state, token) for row_id, state, token in rows}


def _named(session: Session, keys: Sequence[str]) -> set[str]:
    """Those of `keys` that a row names."""
    ids = {lease.row_id for key in keys if (lease := written_under(key))}
    parts = select(PredictionPart.artifact).where(PredictionPart.id.in_(ids))
    outcomes = select(EvaluationOutcomes.artifact).where(EvaluationOutcomes.artifact.in_(keys))
    return {str(key) for statement in (parts, outcomes) for key in session.scalars(statement)}
