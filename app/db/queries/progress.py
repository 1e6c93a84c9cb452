"""How far an evaluation is, how fast it goes, and what it waits for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, String, and_, bindparam, func, or_, select, tuple_
from sqlalchemy.orm import Session

from app.db.base import UtcDateTime
from app.db.clock import now
from app.db.conditions import UNPREDICTED, is_claimable, is_open
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
from app.representations.evaluations import ProgressDocument

#: Longer lines than this are not counted out: the number would be old before it is read.
_COUNT_UP_TO = 100

# Built once: pages and clients ask every other second, and putting a statement together takes longer than running it.
_ID = bindparam("evaluation_id", type_=String())
_AT = bindparam("at", type_=UtcDateTime())
_LINKS = (
    select(
        EvaluationSet.member_position,
        EvaluationSet.set_id,
        EvaluationSet.stop,
        EvaluationSet.reused,
        PredictionSet.view,
        PredictionSet.view_digest,
        PredictionSet.frontier,
        PredictionSet.macs_per_image,
    )
    .join(PredictionSet, PredictionSet.id == EvaluationSet.set_id)
    .where(EvaluationSet.evaluation_id == _ID)
    .order_by(EvaluationSet.member_position, EvaluationSet.view_position)
)
# Few rows, however long the evaluation runs: what was handed out and is not done.
_OPEN_PARTS = select(
    PredictionPart.set_id,
    PredictionPart.start,
    PredictionPart.stop,
    PredictionPart.state,
    PredictionPart.worker_id,
    PredictionPart.not_before,
    PredictionPart.error_code,
    PredictionPart.error_message,
).where(PredictionPart.set_id.in_(select(EvaluationSet.set_id).where(EvaluationSet.evaluation_id == _ID)), is_open())
_AHEAD = (
    select(Evaluation.priority)
    .where(
        is_claimable(_AT),
        or_(
            Evaluation.priority > bindparam("priority"),
            and_(
                Evaluation.priority == bindparam("priority"),
                tuple_(Evaluation.last_turn_at, Evaluation.id)
                < tuple_(bindparam("last_turn_at", type_=UtcDateTime()), _ID),
            ),
        ),
    )
    .limit(_COUNT_UP_TO + 1)
    .subquery()
)
_PLACE = select(func.count(), func.count().filter(_AHEAD.c.priority > bindparam("priority"))).select_from(_AHEAD)


@dataclass(frozen=True)
class OpenPart:
    """Images [start, stop) of a set that were handed out and are not done."""

    set_id: str
    start: int
    stop: int
    state: str
    worker_id: str | None
    not_before: dt.datetime | None
    error_code: str | None
    error_message: str | None

    def is_paused(self, at: dt.datetime) -> bool:
        """Whether it waits for the end of a pause after an error."""
        return self.state == LeaseState.PENDING and self.not_before is not None and self.not_before > at

    def is_due(self, at: dt.datetime) -> bool:
        """Whether a worker may take it now."""
        return self.state == LeaseState.PENDING and not self.is_paused(at)


@dataclass(frozen=True)
class Link:
    """One set that an evaluation wants, up to image `stop`; how many of its images are done there, and what is not."""

    member_position: int
    set_id: str
    stop: int
    reused: int
    view: dict[str, Any]
    view_digest: str
    frontier: int
    macs_per_image: float
    done: int
    open_parts: tuple[OpenPart, ...]


def links(session: Session, evaluation: Evaluation) -> list[Link]:
    """The evaluation's sets, member by member, view by view."""
    rows = session.execute(_LINKS, {"evaluation_id": evaluation.id}).all()
    parts: dict[str, list[OpenPart]] = {}
    for row in session.execute(_OPEN_PARTS, {"evaluation_id": evaluation.id}):
        parts.setdefault(row.set_id, []).append(OpenPart(*row))
    return [_link(row, parts.get(row.set_id, ()), evaluation.images) for row in rows]


def _link(row: Row[Any], parts: Sequence[OpenPart], images: int) -> Link:
    # What was carved after the frontier was read is not among the images up to it.
    own = tuple(part for part in parts if part.start < min(row.stop, row.frontier))
    missing = sum(min(part.stop, images) - part.start for part in own if part.start < images)
    return Link(**row._mapping, done=min(row.frontier, images) - missing, open_parts=own)


def progress(evaluation: Evaluation, found: Sequence[Link], busy: Sequence[Worker]) -> ProgressDocument:
    """Image-views done and to do, and the time that the workers which are at it need for the rest.

    The time comes from multiply-accumulates: an image costs many times more under crops than dense.
    """
    total = evaluation.images * len(found)
    rest = sum((evaluation.images - link.done) * link.macs_per_image for link in found)
    images_per_second = sum(worker.images_per_second or 0.0 for worker in busy)
    macs_per_second = sum(worker.macs_per_second or 0.0 for worker in busy)
    return ProgressDocument(
        done=sum(link.done for link in found),
        total=total,
        images_per_second=images_per_second or None,
        eta_seconds=rest / macs_per_second if macs_per_second else None,
    )


def predictors(alive: Sequence[Worker], found: Sequence[Link]) -> list[Worker]:
    """Those of the live workers that hold parts of the evaluation's sets."""
    held = (part for link in found for part in link.open_parts if part.state == LeaseState.LEASED)
    ids = {part.worker_id for part in held}
    return [worker for worker in alive if worker.id in ids]


def waiting_for(session: Session, evaluation: Evaluation, found: Sequence[Link], alive: Sequence[Worker]) -> str | None:
    """One sentence: what happens now, or why nothing does; None once the evaluation has ended."""
    if evaluation.status == EvaluationStatus.FUSING:
        return _fusing(session, evaluation, alive)
    if evaluation.status not in UNPREDICTED:
        return None
    busy = predictors(alive, found)
    if busy:
        return f"being predicted by {_names(busy)}"
    at = now(session)
    return _paused(found, at) or unserved(alive, "predict") or _behind(session, evaluation, at)


def _fusing(session: Session, evaluation: Evaluation, alive: Sequence[Worker]) -> str:
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
    return unserved(alive, "fuse") or "waiting for a worker of queue fuse to become free"


def _paused(found: Sequence[Link], at: dt.datetime) -> str | None:
    """The pause of the part that comes back first, where every slice of the evaluation is paused."""
    parts = [part for link in found for part in link.open_parts]
    if any(link.frontier < link.stop for link in found) or any(part.is_due(at) for part in parts):
        return None
    paused = [(part.not_before, part) for part in parts if part.not_before is not None and part.is_paused(at)]
    if not paused:
        return None
    until, part = min(paused, key=lambda pair: pair[0])
    return pause(until, part.error_code, part.error_message)


def unserved(alive: Sequence[Worker], queue: str) -> str | None:
    """Why no live worker will take work of a queue as things are; None where one will."""
    serving = [worker for worker in alive if queue in worker.queues]
    if not serving:
        return f"no live worker serves queue {queue}"
    if all(worker.state == "blocked" for worker in serving):
        return f"every worker of queue {queue} is blocked: {serving[0].doing or 'it does not say why'}"
    return None


def _behind(session: Session, evaluation: Evaluation, at: dt.datetime) -> str:
    """Its place in the line: by priority, then by who waited longest since its last turn."""
    place = {"evaluation_id": evaluation.id, "priority": evaluation.priority, "last_turn_at": evaluation.last_turn_at}
    count, urgent = session.execute(_PLACE, {**place, "at": at}).one()
    if count > _COUNT_UP_TO:
        return f"behind more than {_COUNT_UP_TO} evaluations"
    if count:
        which = "" if not urgent else " of a higher priority" if urgent == count else f", {urgent} of a higher priority"
        return f"behind {count} evaluation{'s' if count != 1 else ''}{which}"
    return "waiting for a worker of queue predict to become free"


def pause(until: dt.datetime, code: str | None, message: str | None) -> str:
    """Why work that ended in an error is not taken up yet."""
    return f"trying again at {until:%H:%M:%S} UTC after an error ({code}: {message})"


def _names(busy: Sequence[Worker]) -> str:
    return ", ".join(dict.fromkeys(worker.name for worker in busy))
