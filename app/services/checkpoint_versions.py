"""Weights files that were overwritten in place: what is found there becomes a checkpoint of its own."""

from __future__ import annotations

from typing import Any

from app.db.base import new_id
from app.db.models import Checkpoint, CheckpointVersion, RegistrationState
from app.db.session import Database
from app.db.statements import insert_new
from app.services import events
from app.services.checkpoints import CheckpointFacts, facts_columns

#: Of a name; what identifies the version must find room.
_LONGEST_NAME = 200
_SHOWN_DIGITS = 12


def add(db: Database, root: Checkpoint, facts: CheckpointFacts) -> str:
    """Register what was found in a checkpoint's file; its name. Found twice, it is the same.

    The old name stays with what it meant, so that nothing measured changes its meaning; `NAME@sha256` is the new one.

    Args:
        db: the database.
        root: the checkpoint that was registered from the file first.
        facts: what the file holds now.
    """
    suffix = f"@{facts.sha256[:_SHOWN_DIGITS]}"
    name = root.name[: _LONGEST_NAME - len(suffix)] + suffix
    row: dict[str, Any] = {
        "id": new_id(),
        "name": name,
        "state": RegistrationState.READY,
        "source": root.source,
        "tags": [],
        "notes": f"found in the file of {root.name}, which was overwritten",
        **facts_columns(facts),
    }
    with db.write() as session:
        if insert_new(session, Checkpoint, row):
            session.add(CheckpointVersion(checkpoint_id=row["id"], root_id=root.id))
            events.record(session, "checkpoint_overwritten", subject_id=root.id, name=root.name, version=name)
    return name
