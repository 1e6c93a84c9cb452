"""How far an evaluation is, how fast it goes, and what it waits for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.conditions import is_claimable, is_open
from app.db.models import (
    Evaluation,
    EvaluationSet,
    EvaluationStatus,
    LeaseState,
    PredictionPart,
    PredictionSet,
    Worker,
    WorkItem,
)
from app.db.queries import workers
from app.representations.evaluations import ProgressDocument

#: Longer lines than this are not counted out: the number would be old before it is read.
_COUNT_UP_TO = 100


@dataclass(frozen=True)
class Link:
    """One set that an evaluation wants, and how many of its images are done there."""

    row: EvaluationSet
    prediction_set: PredictionSet
    done: int


def links(session: Session, evaluation: Evaluation) -> list[Link]:
    """The evaluation's sets, member by member, view by view."""
    pairs = session.execute(
        select(EvaluationSet, PredictionSet)
        .join(PredictionSet, PredictionSet.id == EvaluationSet.set_id)
        .where(EvaluationSet.evaluation_id == evaluation.id)
        .order_by(EvaluationSet.member_position, EvaluationSet.view_position)
    ).all()
    images = evaluation.images
    missing = _images_in_open_parts(session, evaluation)
    return [Link(row, found, min(found.frontier, images) - missing.get(found.id, 0)) for row, found in pairs]


def _images_in_open_parts(session: Session, evaluation: Evaluation) -> dict[str, int]:
    """Images of the evaluation that were handed out and are not done, by set: few rows, however long it runs."""
    own_sets = select(EvaluationSet.set_id).where(EvaluationSet.evaluation_id == evaluation.id)
    parts = select(PredictionPart.set_id, PredictionPart.start, PredictionPart.stop).where(
        PredictionPart.set_id.in_(own_sets), is_open(), PredictionPart.start < evaluation.images
    )
    counts: dict[str, int] = {}
    for set_id, start, stop in session.execute(parts):
        counts[set_id] = counts.get(set_id, 0) + min(stop, evaluation.images) - start
    return counts


def progress(evaluation: Evaluation, found: Sequence[Link], busy: Sequence[Worker]) -> ProgressDocument:
    """Image-views done and to do, and the time that the workers which are at it need for the rest.

    The time comes from multiply-accumulates: an image costs many times more under crops than dense.
    """
    total = evaluation.images * len(found)
    rest = sum((evaluation.images - link.done) * link.prediction_set.macs_per_image for link in found)
    images_per_second = sum(worker.images_per_second or 0.0 for worker in busy)
    macs_per_second = sum(worker.macs_per_second or 0.0 for worker in busy)
    return ProgressDocument(
        done=sum(link.done for link in found),
        total=total,
        images_per_second=images_per_second or None,
        eta_seconds=rest / macs_per_second if macs_per_second else None,
    )


def predictors(session: Session, evaluation: Evaluation) -> list[Worker]:
    """Live workers that hold parts of the evaluation's sets."""
    holders = (
        select(PredictionPart.worker_id)
        .join(EvaluationSet, EvaluationSet.set_id == PredictionPart.set_id)
        .where(
            EvaluationSet.evaluation_id == evaluation.id,
            is_open(),
            PredictionPart.state == LeaseState.LEASED,
            PredictionPart.start < EvaluationSet.stop,
        )
    )
    ids = set(session.scalars(holders))
    return [worker for worker in workers.alive(session) if worker.id in ids] if ids else []


def waiting_for(session: Session, evaluation: Evaluation, busy: Sequence[Worker]) -> str | None:
    """One sentence: what happens now, or why nothing does; None once the evaluation has ended."""
    if evaluation.status == EvaluationStatus.FUSING:
        return _fusing(session, evaluation)
    if evaluation.status not in (EvaluationStatus.QUEUED, EvaluationStatus.PREDICTING):
        return None
    if busy:
        return f"being predicted by {_names(busy)}"
    at = now(session)
    paused = _paused(session, evaluation, at)
    if paused is not None:
        return paused
    return unserved(session, "predict") or _behind(session, evaluation, at)


def _fusing(session: Session, evaluation: Evaluation) -> str:
    item = session.scalars(
        select(WorkItem)
        .where(WorkItem.evaluation_id == evaluation.id, WorkItem.kind == "fuse")
        .order_by(WorkItem.id.desc())
        .limit(1)
    ).one_or_none()
    if item is not None and item.state == LeaseState.LEASED:
        holder = session.get(Worker, item.worker_id) if item.worker_id else None
        return f"being fused and scored by {holder.name if holder else 'a worker'}"
    if item is not None and item.not_before is not None and item.not_before > now(session):
        return pause(item.not_before, item.error_code, item.error_message)
    return unserved(session, "fuse") or "waiting for a worker of queue fuse to become free"


def _paused(session: Session, evaluation: Evaluation, at: dt.datetime) -> str | None:
    """The pause of the part that comes back first, where every slice of the evaluation is paused."""
    claimable = session.scalars(select(Evaluation.id).where(Evaluation.id == evaluation.id, is_claimable(at)))
    if claimable.one_or_none() is not None:
        return None
    part = session.scalars(
        select(PredictionPart)
        .join(EvaluationSet, EvaluationSet.set_id == PredictionPart.set_id)
        .where(
            EvaluationSet.evaluation_id == evaluation.id,
            is_open(),
            PredictionPart.state == LeaseState.PENDING,
            PredictionPart.not_before > at,
        )
        .order_by(PredictionPart.not_before)
        .limit(1)
    ).one_or_none()
    if part is None or part.not_before is None:
        return None
    return pause(part.not_before, part.error_code, part.error_message)


def unserved(session: Session, queue: str) -> str | None:
    """Why nobody will take work of a queue as things are; None where somebody will."""
    serving = [worker for worker in workers.alive(session) if queue in worker.queues]
    if not serving:
        return f"no live worker serves queue {queue}"
    if all(worker.state == "blocked" for worker in serving):
        return f"every worker of queue {queue} is blocked: {serving[0].doing or 'it does not say why'}"
    return None


def _behind(session: Session, evaluation: Evaluation, at: dt.datetime) -> str:
    """Its place in the line: by priority, then by who waited longest since its last turn."""
    ahead = or_(
        Evaluation.priority > evaluation.priority,
        and_(
            Evaluation.priority == evaluation.priority,
            tuple_(Evaluation.last_turn_at, Evaluation.id) < tuple_(evaluation.last_turn_at, evaluation.id),
        ),
    )
    some = select(Evaluation.id).where(is_claimable(at), ahead).limit(_COUNT_UP_TO + 1).subquery()
    count = session.scalars(select(func.count()).select_from(some)).one()
    if count > _COUNT_UP_TO:
        return f"behind more than {_COUNT_UP_TO} evaluations"
    if count:
        higher = select(func.count()).where(
            Evaluation.id.in_(select(some.c.id)), Evaluation.priority > evaluation.priority
        )
        urgent = session.scalars(higher).one()
        which = "" if not urgent else " of a higher priority" if urgent == count else f", {urgent} of a higher priority"
        return f"behind {count} evaluation{'s' if count != 1 else ''}{which}"
    return "waiting for a worker of queue predict to become free"


def pause(until: dt.datetime, code: str | None, message: str | None) -> str:
    """Why work that ended in an error is not taken up yet."""
    return f"trying again at {until:%H:%M:%S} UTC after an error ({code}: {message})"


def _names(busy: Sequence[Worker]) -> str:
    return ", ".join(dict.fromkeys(worker.name for worker in busy))
