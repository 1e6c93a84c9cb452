"""Evaluations: submitted, cancelled, tried again, moved on when their sets are done, ended with scores."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.conditions import UNPREDICTED, is_any, is_predicted
from app.db.models import (
    LIVE_STATUSES,
    Checkpoint,
    Dataset,
    Evaluation,
    EvaluationOutcomes,
    EvaluationSet,
    EvaluationStatus,
    Score,
    WorkItem,
)
from app.db.session import Database
from app.db.statements import changed, insert_new, lock_rows
from app.errors import IdempotencyConflictError, LeaseLostError, NotFoundError, StateConflictError
from app.fault_points import reach
from app.representations.requests import EvaluationRequest
from app.representations.webhooks import WebhookEvent
from app.services import events, planning, prediction_sets, verdicts
from app.services.answering.outcomes import NewOutcomes
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.notifications import notices
from app.services.verdicts import Verdict
from ensembles.canonical import digest

#: Evaluations that one transaction ends.
_CANCELLED_AT_ONCE = 500


@dataclass(frozen=True)
class Submission:
    """The evaluation of a request; `created` is False when its Idempotency-Key came before."""

    id: str
    created: bool


@dataclass(frozen=True)
class NewScore:
    """One number of an evaluation, in the words of `ScoreDocument`; `position` is its row's place on a page."""

    position: int
    subject: str
    subject_name: str
    members: list[dict[str, Any]]
    scales: list[int] | None
    mode: str | None
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    n_unreadable: int


def submit(db: Database, request: EvaluationRequest, *, idempotency_key: str | None = None) -> Submission:
    """Turn a request into rows; what was measured before is linked, and nothing waits for a broker.

    Raises:
        InvalidRequestError: everything that is wrong with the request, at once.
        IdempotencyConflictError: the key came before with another request.
    """
    body = request.model_dump(mode="json")
    with db.read() as session:
        earlier = _earlier(session, idempotency_key, body)
        if earlier is not None:
            return earlier
        # What a ready checkpoint or data set computes never changes, so planning needs no lock on them.
        plan = planning.plan(session, request)
    evaluation_id = new_id()
    row = {
        "id": evaluation_id,
        "dataset_id": plan.dataset.id,
        "protocol": plan.protocol.to_dict(),
        "protocol_name": plan.protocol.name,
        "fusion": plan.fusion.to_dict(),
        "ensemble": None if plan.ensemble is None else plan.ensemble.model_dump(mode="json"),
        "images": plan.images,
        "unreadable": request.unreadable,
        "force": request.force,
        "priority": request.priority,
        "request": body,
        "request_digest": digest(body),
        "idempotency_key": idempotency_key,
    }
    with db.write() as session:
        _hold(session, plan)
        if not insert_new(session, Evaluation, row):
            earlier = _earlier(session, idempotency_key, body)
            if earlier is None:
                raise StateConflictError("evaluation", evaluation_id, "known already", "made twice")
            return earlier
        prediction_sets.link(session, evaluation_id, plan, force=request.force)
        events.record(session, "evaluation_submitted", evaluation_id=evaluation_id)
        _conclude(session, evaluation_id)
        session.flush()
        reach("submit.before_commit")
    reach("submit.after_commit")
    return Submission(evaluation_id, created=True)


def cancel(db: Database, evaluation_id: str) -> None:
    """End an evaluation that has not ended. Sets that others want go on; workers drop the rest at their next heartbeat.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has ended already.
    """
    with db.write() as session:
        at = now(session)
        leases.close_items(session, [evaluation_id], "cancelled", "the evaluation was cancelled")
        live = (Evaluation.id == evaluation_id, is_any(Evaluation.status, *LIVE_STATUSES))
        ended = {"status": EvaluationStatus.CANCELLED, "finished_at": at}
        if not changed(session, update(Evaluation).where(*live).values(**ended)):
            raise _conflict(session, evaluation_id, "cancelled")
        events.record(session, "evaluation_cancelled", evaluation_id=evaluation_id)


def cancel_many(db: Database, evaluation_ids: Collection[str] | None = None) -> int:
    """End every evaluation that has not ended, or those among `evaluation_ids`; one that has ended is none's concern.

    Some hundred a transaction, so that others need not wait long. What is submitted meanwhile may be left.

    Returns:
        How many were cancelled.
    """
    with db.read() as session:
        live = select(Evaluation.id).where(is_any(Evaluation.status, *LIVE_STATUSES)).order_by(Evaluation.id)
        ids = [row for row in session.scalars(live) if evaluation_ids is None or row in evaluation_ids]
    cancelled = 0
    for start in range(0, len(ids), _CANCELLED_AT_ONCE):
        with db.write() as session:
            some = ids[start : start + _CANCELLED_AT_ONCE]
            leases.close_items(session, some, "cancelled", "the evaluation was cancelled")
            lock_rows(session, Evaluation, some)
            still_live = (Evaluation.id.in_(some), is_any(Evaluation.status, *LIVE_STATUSES))
            ended = {"status": EvaluationStatus.CANCELLED, "finished_at": now(session)}
            ending = update(Evaluation).where(*still_live).values(**ended).returning(Evaluation.id)
            gone = session.scalars(ending, execution_options={"synchronize_session": False}).all()
            events.record_all(session, "evaluation_cancelled", [{"evaluation_id": one} for one in gone])
            cancelled += len(gone)
    return cancelled


def retry(db: Database, evaluation_id: str) -> None:
    """Start a failed or cancelled evaluation again; what is done stays done, failed parts get another chance.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it is neither failed nor cancelled.
    """
    with db.write() as session:
        links = select(EvaluationSet.set_id, EvaluationSet.stop).where(EvaluationSet.evaluation_id == evaluation_id)
        prediction_sets.reopen_failed(session, dict(session.execute(links).all()))
        ended = (EvaluationStatus.FAILED, EvaluationStatus.CANCELLED)
        again = {
            "status": EvaluationStatus.QUEUED,
            "error_code": None,
            "error_message": None,
            "started_at": None,
            "finished_at": None,
        }
        over = (Evaluation.id == evaluation_id, is_any(Evaluation.status, *ended))
        if not changed(session, update(Evaluation).where(*over).values(**again)):
            raise _conflict(session, evaluation_id, "tried again")
        events.record(session, "evaluation_retried", evaluation_id=evaluation_id)
        _conclude(session, evaluation_id)


def advance_ready(db: Database, set_ids: Collection[str] | None = None) -> list[str]:
    """Move every evaluation whose prediction has come to an end: to `fusing`, or to `failed` with the reason.

    It belongs into a transaction of its own after completions: inside a completing one, two last finishers would each
    miss the other's uncommitted part. Calling it too often does no harm.

    Args:
        db: the database.
        set_ids: look only at evaluations that want one of these sets, as after completing parts of them.

    Returns:
        The ids that moved.
    """
    with db.read() as session:
        predicted = select(Evaluation.id).where(_unpredicted(), is_predicted())
        if set_ids is not None:
            users = select(EvaluationSet.evaluation_id).where(EvaluationSet.set_id.in_(set_ids))
            predicted = predicted.where(Evaluation.id.in_(users))
        candidates = sorted({*session.scalars(predicted), *verdicts.failures(session)})
    if not candidates:
        return []
    with db.write() as session:
        moved = [evaluation_id for evaluation_id in candidates if _conclude(session, evaluation_id)]
        session.flush()
        reach("advance.before_commit")
    reach("advance.after_commit")
    return moved


def succeed(
    db: Database,
    lease: ItemLease,
    scores: Sequence[NewScore],
    provenance: dict[str, Any],
    outcomes: Sequence[NewOutcomes] = (),
) -> None:
    """End an evaluation with its scores.

    Args:
        db: the database.
        lease: of its fuse item.
        scores: all of them.
        provenance: where they come from.
        outcomes: stored per-image outcomes of its members and the ensemble.

    Raises:
        LeaseLostError: the item is no longer this lease's, or the evaluation was cancelled; nothing changed.
    """
    with leases.finishing(db, lease) as session:
        fusing = (Evaluation.id == lease.evaluation_id, Evaluation.status == EvaluationStatus.FUSING)
        ended = {"status": EvaluationStatus.SUCCEEDED, "finished_at": now(session), "provenance": provenance}
        if not changed(session, update(Evaluation).where(*fusing).values(**ended)):
            raise LeaseLostError("item", lease.id, lease.token)
        session.add_all(Score(evaluation_id=lease.evaluation_id, **asdict(score)) for score in scores)
        session.add_all(
            EvaluationOutcomes(
                evaluation_id=lease.evaluation_id,
                position=one.position,
                member_position=one.member_position,
                artifact=one.artifact.key,
                sha256=one.artifact.sha256,
                size_bytes=one.artifact.size_bytes,
            )
            for one in outcomes
        )
        events.record(session, "evaluation_succeeded", evaluation_id=lease.evaluation_id)
        notices.evaluation_ended(session, str(lease.evaluation_id), WebhookEvent.EVALUATION_FINISHED)


def _unpredicted() -> ColumnElement[bool]:
    return is_any(Evaluation.status, *UNPREDICTED)


def _conclude(session: Session, evaluation_id: str) -> bool:
    """End the prediction of one evaluation, if it has come to an end; of several callers one wins."""
    verdict = verdicts.failures(session, evaluation_id).get(evaluation_id)
    return _fail(session, evaluation_id, verdict) if verdict else _fuse(session, evaluation_id)


def _fuse(session: Session, evaluation_id: str) -> bool:
    """Move an evaluation whose sets are done to `fusing`, with its work item."""
    ready = update(Evaluation).where(Evaluation.id == evaluation_id, _unpredicted(), is_predicted())
    if not changed(session, ready.values(status=EvaluationStatus.FUSING)):
        return False
    priority = session.scalars(select(Evaluation.priority).where(Evaluation.id == evaluation_id)).one()
    session.add(WorkItem(kind="fuse", queue="fuse", priority=priority, payload={}, evaluation_id=evaluation_id))
    events.record(session, "evaluation_fusing", evaluation_id=evaluation_id)
    return True


def _fail(session: Session, evaluation_id: str, verdict: Verdict) -> bool:
    ended = {
        "status": EvaluationStatus.FAILED,
        "finished_at": now(session),
        "error_code": verdict.code,
        "error_message": verdict.message,
    }
    statement = update(Evaluation).where(Evaluation.id == evaluation_id, _unpredicted()).values(**ended)
    if not changed(session, statement):
        return False
    events.record(session, "evaluation_failed", evaluation_id=evaluation_id, code=verdict.code)
    notices.evaluation_ended(session, evaluation_id, WebhookEvent.EVALUATION_FAILED)
    return True


def _earlier(session: Session, idempotency_key: str | None, body: dict[str, Any]) -> Submission | None:
    """The evaluation that this key made before."""
    if idempotency_key is None:
        return None
    made = select(Evaluation.id, Evaluation.request).where(Evaluation.idempotency_key == idempotency_key)
    row = session.execute(made).one_or_none()
    if row is None:
        return None
    if row.request != body:
        raise IdempotencyConflictError(idempotency_key)
    return Submission(row.id, created=False)


def _hold(session: Session, plan: planning.Plan) -> None:
    """Keep the named rows from being deleted until this transaction ends.

    Raises:
        NotFoundError: one was deleted since the request was planned.
    """
    wanted = {member.checkpoint.id: member.checkpoint.name for member in plan.members}
    held = select(Checkpoint.id).where(Checkpoint.id.in_(wanted)).order_by(Checkpoint.id)
    found = set(session.scalars(held.with_for_update(read=True, key_share=True)))
    for checkpoint_id, name in wanted.items():
        if checkpoint_id not in found:
            raise NotFoundError("checkpoint", name)
    session.scalars(select(Dataset.id).where(Dataset.id == plan.dataset.id).with_for_update(read=True, key_share=True))


def _conflict(session: Session, evaluation_id: str, action: str) -> StateConflictError | NotFoundError:
    status = session.scalars(select(Evaluation.status).where(Evaluation.id == evaluation_id)).one_or_none()
    if status is None:
        return NotFoundError("evaluation", evaluation_id)
    return StateConflictError("evaluation", evaluation_id, status, action)
