"""Imported predictions: posteriors of other frameworks as a checkpoint without a network, its one set complete at once.

What they are is named by what they say: the same posteriors of the same data set share their set, whatever file and
format they came in. Importing them again also repairs a stored file that was damaged.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore, StoredArtifact
from app.config import Settings
from app.db.base import new_id
from app.db.clock import now
from app.db.models import (
    Checkpoint,
    Dataset,
    LeaseState,
    PredictionPart,
    PredictionSet,
    RegistrationState,
    WorkItem,
)
from app.db.queries.lookup import find
from app.db.session import Database
from app.db.statements import insert_new
from app.errors import NotReadyError
from app.representations.predictions import PredictionsRequest
from app.services import datasets, idempotency, registration
from app.services.artifact_keys import imported_key
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.paths import allowed_path
from ensembles.canonical import digest
from ensembles.prediction_files import read_predictions
from ensembles.prediction_join import join_predictions
from ensembles.specs import ENGINE_VERSION, IMPORTED_VIEW

KIND = "import_predictions"
#: What stands where a checkpoint has the name of its network.
ARCHITECTURE = "imported"
#: What Idempotency-Keys are told apart by.
_IDEMPOTENT = "predictions"
_ROOTS = "SOFTVOTE_CHECKPOINT_ROOTS"


def request_import(
    db: Database,
    settings: Settings,
    request: PredictionsRequest,
    *,
    trusted: bool = False,
    idempotency_key: str | None = None,
) -> str:
    """Add a checkpoint in state `registering`, for a worker to read the file; its id.

    Args:
        db: the database.
        settings: names the folders that the paths must lie under.
        request: the file, and what it does not tell.
        trusted: the operator's own command line, which may name any file.
        idempotency_key: the same key with the same request gets the same id.

    Raises:
        IdempotencyConflictError: the key came before with another request.
        InvalidRequestError: a path that a trusted caller names is none.
        PathForbiddenError: a path is not allowed.
        NotFoundError: no such data set.
        NotReadyError: the data set is not ready.
        NameTakenError: another checkpoint has the name.
    """
    with db.read() as session:
        if known := idempotency.earlier(session, _IDEMPOTENT, idempotency_key, request):
            return known
    roots = settings.checkpoint_roots
    path = allowed_path(request.path, roots, _ROOTS, folder=False, trusted=trusted)
    ids = None
    if request.ids is not None:
        ids = allowed_path(request.ids, roots, _ROOTS, folder=False, trusted=trusted, field="ids")
    with db.write() as session:
        dataset = find(session, Dataset, request.dataset)
        if dataset.state != RegistrationState.READY:
            raise NotReadyError("data set", dataset.name, dataset.state)
        payload = {
            "path": str(path),
            "ids": None if ids is None else str(ids),
            "dataset": dataset.id,
            "kind": request.kind,
            "member": request.member,
            "partial": request.partial,
        }
        item = WorkItem(kind=KIND, queue="fuse", payload=payload)
        columns = {
            "source": str(path),
            "path": None,
            "architecture_name": ARCHITECTURE,
            "tags": request.tags,
            "notes": request.notes,
        }
        begin = partial(registration.begin, session, Checkpoint, request.name, columns, item)
        return idempotency.once(session, _IDEMPOTENT, idempotency_key, request, begin)


@dataclass(frozen=True, eq=False)
class _Imported:
    """What was read, and where it is stored."""

    probs: NDArray[np.float32]
    index_ids: tuple[str, ...]
    fingerprint: str
    sha256: str
    size_bytes: int
    artifact: StoredArtifact


def complete_import(db: Database, artifacts: ArtifactStore, lease: ItemLease) -> None:
    """Read the file, store its posteriors, and make the checkpoint ready.

    Raises:
        PredictionsFileError: what is wrong with the file.
        OSError: it cannot be read.
        ArtifactDamagedError: the data set's index is missing or different.
        StorageFullError: no room; nothing is left behind.
        LeaseLostError: the item is no longer this lease's; nothing changed.
    """
    payload = lease.payload
    with db.read() as session:
        dataset = session.get_one(Dataset, payload["dataset"])
    imported = _store(artifacts, dataset, payload)
    with leases.finishing(db, lease) as session:
        checkpoint_id = str(lease.checkpoint_id)
        registration.settle(
            session,
            Checkpoint,
            checkpoint_id,
            RegistrationState.READY,
            sha256=imported.sha256,
            size_bytes=imported.size_bytes,
            fingerprint=imported.fingerprint,
            classes=imported.probs.shape[1],
        )
        _add_set(session, dataset, checkpoint_id, imported)


def is_imported(checkpoint: Checkpoint) -> bool:
    """Whether a ready checkpoint is imported predictions, and no network."""
    return checkpoint.architecture is None and checkpoint.architecture_name == ARCHITECTURE


def datasets_of(session: Session, checkpoint: Checkpoint) -> list[Dataset]:
    """The data set that imported predictions are of, under every name that it is registered by."""
    sets = select(PredictionSet.dataset_fingerprint).where(
        PredictionSet.checkpoint_fingerprint == checkpoint.fingerprint,
        PredictionSet.view_digest == IMPORTED_VIEW.digest,
    )
    return list(session.scalars(select(Dataset).where(Dataset.fingerprint.in_(sets)).order_by(Dataset.created_at)))


def forget_set(session: Session, checkpoint: Checkpoint) -> None:
    """Before imported predictions are deleted: hand their set to another checkpoint with the same, or remove it.

    The file stays; where no row names it, it costs its room and nothing else.
    """
    own = select(PredictionSet.id).where(
        PredictionSet.checkpoint_id == checkpoint.id, PredictionSet.view_digest == IMPORTED_VIEW.digest
    )
    ids = session.scalars(own.with_for_update()).all()
    if not ids:
        return
    same = (Checkpoint.fingerprint == checkpoint.fingerprint, Checkpoint.id != checkpoint.id)
    heir = session.scalars(select(Checkpoint.id).where(*same).limit(1)).one_or_none()
    if heir is not None:
        session.execute(update(PredictionSet).where(PredictionSet.id.in_(ids)).values(checkpoint_id=heir))
        return
    session.execute(delete(PredictionPart).where(PredictionPart.set_id.in_(ids)))
    session.execute(delete(PredictionSet).where(PredictionSet.id.in_(ids)))


def _store(artifacts: ArtifactStore, dataset: Dataset, payload: dict[str, Any]) -> _Imported:
    index = datasets.load_index(artifacts, dataset)
    path = Path(payload["path"])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    given = read_predictions(path, None if payload["ids"] is None else Path(payload["ids"]), payload["member"])
    probs = join_predictions(
        path.name, given, index.ids, index.classes, index.labels, payload["kind"], partial=payload["partial"]
    )
    content = hashlib.sha256(probs.tobytes()).hexdigest()
    fingerprint = digest({"imported": content, "classes": probs.shape[1], "dataset": dataset.fingerprint})
    # Named by its content, so whoever writes it twice writes the same.
    artifact = artifacts.put(imported_key(fingerprint), probs)
    return _Imported(probs, tuple(index.ids), fingerprint, sha256, path.stat().st_size, artifact)


def _add_set(session: Session, dataset: Dataset, checkpoint_id: str, imported: _Imported) -> None:
    images, classes = imported.probs.shape
    set_id = new_id()
    made = insert_new(
        session,
        PredictionSet,
        {
            "id": set_id,
            "checkpoint_fingerprint": imported.fingerprint,
            "dataset_fingerprint": dataset.fingerprint,
            "view_digest": IMPORTED_VIEW.digest,
            "engine_version": ENGINE_VERSION,
            "generation": 0,
            "checkpoint_id": checkpoint_id,
            "dataset_id": dataset.id,
            "view": IMPORTED_VIEW.to_dict(),
            "images": images,
            "classes": classes,
            "block": 1,
            "macs_per_image": 0.0,
            "frontier": images,
        },
    )
    if not made:
        return
    unreadable = [
        {"index": int(row), "image_id": imported.index_ids[row], "reason": "the imported file has no prediction of it"}
        for row in np.flatnonzero(np.isnan(imported.probs[:, 0]))
    ]
    session.add(
        PredictionPart(
            set_id=set_id,
            start=0,
            stop=images,
            state=LeaseState.DONE,
            artifact=imported.artifact.key,
            sha256=imported.artifact.sha256,
            size_bytes=imported.artifact.size_bytes,
            unreadable=unreadable,
            n_unreadable=len(unreadable),
            environment={"imported": imported.sha256},
            finished_at=now(session),
        )
    )
