"""Prediction parts: leased as slices, completed only under a valid token, read for fusing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.conditions import is_any
from app.db.models import Evaluation, EvaluationSet, EvaluationStatus, LeaseState, PredictionPart
from app.db.session import Database
from app.db.statements import changed
from app.errors import StateConflictError
from app.fault_points import reach
from app.services import events
from app.services.leasing import leases
from app.services.leasing.carving import lease_slice
from app.services.leasing.slices import FinishedPart, LeasedPart, LeasedSlice, PartFile

__all__ = [
    "FinishedPart",
    "LeasedPart",
    "LeasedSlice",
    "PartFile",
    "complete",
    "fail_parts",
    "lease_slice",
    "part_files",
    "release_slice",
    "reopen",
]


def complete(db: Database, worker_id: str, finished: Sequence[FinishedPart]) -> list[str]:
    """Mark parts done whose lease is still ours.

    Returns:
        Their ids. The others were fenced: another worker has them, or has done them, and their files are the caller's
        to delete.
    """
    done = []
    with db.write() as session:
        at = now(session)
        for one in sorted(finished, key=lambda one: one.part.id):
            columns = {
                "artifact": one.artifact.key,
                "sha256": one.artifact.sha256,
                "size_bytes": one.artifact.size_bytes,
                "unreadable": one.unreadable,
                "n_unreadable": len(one.unreadable),
                "batch": one.batch,
                "seconds": one.seconds,
                "environment": one.environment,
                "error_code": None,
                "error_message": None,
                "finished_at": at,
            }
            if leases.end(session, PredictionPart, one.part.id, one.part.token, LeaseState.DONE, **columns):
                done.append(one.part.id)
        for one in finished:
            _record(session, "part_done" if one.part.id in done else "part_fenced", one.part, worker_id)
        session.flush()
        reach("complete.before_commit")
    reach("complete.after_commit")
    return done


def release_slice(db: Database, slice_: LeasedSlice) -> None:
    """Hand a slice back, as a worker does that ends or learns that nobody wants it; no attempt is burnt."""
    with db.write() as session:
        for part in _ordered(slice_.parts):
            if leases.end(session, PredictionPart, part.id, part.token, LeaseState.PENDING):
                _record(session, "part_released", part)
        reach("release.before_commit")


def fail_parts(db: Database, parts: Sequence[LeasedPart], code: str, message: str, *, retryable: bool) -> None:
    """End leases on parts with an error; `advance_ready` then fails the evaluations that want a failed one."""
    kinds = {LeaseState.FAILED: "part_failed", LeaseState.PENDING: "part_backed_off", None: "part_fenced"}
    with db.write() as session:
        for part in _ordered(parts):
            state = leases.end_in_error(
                session, PredictionPart, part.id, part.token, code, message, retryable=retryable
            )
            _record(session, kinds[state], part, code=code)


def part_files(session: Session, set_id: str, stop: int) -> list[PartFile]:
    """The parts that cover images [0, stop) of a set, in order; the last may reach beyond.

    Raises:
        StateConflictError: some of these images are not done.
    """
    rows = session.scalars(
        select(PredictionPart)
        .where(PredictionPart.set_id == set_id, PredictionPart.start < stop, PredictionPart.state == LeaseState.DONE)
        .order_by(PredictionPart.start)
    )
    files = []
    reached = 0
    for row in rows:
        if row.start != reached or row.artifact is None or row.sha256 is None:
            break
        files.append(PartFile(row.id, row.start, row.stop, row.artifact, row.sha256, row.unreadable))
        reached = row.stop
    if reached < stop:
        raise StateConflictError("prediction set", set_id, f"done only up to image {reached} of {stop}", "read")
    return files


def reopen(db: Database, part_id: str) -> None:
    """Put a part whose artifact is damaged back to pending; evaluations that were about to fuse it wait again."""
    with db.write() as session:
        lost: dict[str, Any] = {
            "state": LeaseState.PENDING,
            "artifact": None,
            "sha256": None,
            "size_bytes": None,
            "unreadable": [],
            "n_unreadable": 0,
            "batch": None,
            "finished_at": None,
        }
        done = (PredictionPart.id == part_id, PredictionPart.state == LeaseState.DONE)
        if not changed(session, update(PredictionPart).where(*done).values(**lost)):
            return
        events.record(session, "part_reopened", subject_id=part_id)
        fusing = (
            select(Evaluation.id)
            .join(EvaluationSet, EvaluationSet.evaluation_id == Evaluation.id)
            .join(
                PredictionPart,
                and_(PredictionPart.set_id == EvaluationSet.set_id, PredictionPart.start < EvaluationSet.stop),
            )
            .where(PredictionPart.id == part_id, is_any(Evaluation.status, EvaluationStatus.FUSING))
            .distinct()
        )
        for evaluation_id in sorted(session.scalars(fusing)):
            leases.close_items(session, [evaluation_id], "artifact_damaged", "posteriors are computed anew")
            back = (Evaluation.id == evaluation_id, Evaluation.status == EvaluationStatus.FUSING)
            changed(session, update(Evaluation).where(*back).values(status=EvaluationStatus.PREDICTING))
        reach("reopen.before_commit")


def _ordered(parts: Sequence[LeasedPart]) -> list[LeasedPart]:
    """In the order in which rows are locked."""
    return sorted(parts, key=lambda part: part.id)


def _record(session: Session, kind: str, part: LeasedPart, worker_id: str | None = None, **detail: str) -> None:
    events.record(session, kind, subject_id=part.id, worker_id=worker_id, token=part.token, **detail)
