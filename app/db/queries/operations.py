"""What whoever watches the service wants to know: how much waits, who works, what happened how often."""

from __future__ import annotations

import datetime as dt
import threading
from collections import Counter
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.clock import now
from app.db.conditions import is_any, is_open
from app.db.models import Evaluation, EvaluationStatus, Event, LeaseState, PredictionPart, Worker, WorkItem
from app.db.queries import workers

#: No transaction takes so long between writing an event and its commit.
_SETTLED_SECONDS = 30


@dataclass(frozen=True)
class Snapshot:
    """The state of one moment.

    Attributes:
        evaluations: how many, by status.
        oldest_queued_seconds: age of the evaluation that was queued first; 0 when none is.
        open_parts: prediction parts that are not done, by state.
        open_items: work items that are not done, by queue, kind and state.
        workers: those that live.
        worker_ages: seconds since each of them was seen, in the same order.
    """

    evaluations: dict[str, int]
    oldest_queued_seconds: float
    open_parts: dict[str, int]
    open_items: dict[tuple[str, str, str], int]
    workers: list[Worker]
    worker_ages: list[float]


def snapshot(session: Session) -> Snapshot:
    """Look at everything once."""
    at = now(session)
    statuses = select(Evaluation.status, func.count()).group_by(Evaluation.status)
    queued = select(func.min(Evaluation.created_at)).where(is_any(Evaluation.status, EvaluationStatus.QUEUED))
    first = session.scalars(queued).one()
    parts = select(PredictionPart.state, func.count()).where(is_open()).group_by(PredictionPart.state)
    items: dict[tuple[str, str, str], int] = {}
    for state in (LeaseState.PENDING, LeaseState.LEASED):
        of_state = select(WorkItem.queue, WorkItem.kind, func.count()).where(is_any(WorkItem.state, state))
        for queue, kind, count in session.execute(of_state.group_by(WorkItem.queue, WorkItem.kind)):
            items[queue, kind, str(state)] = count
    alive = workers.alive(session)
    return Snapshot(
        evaluations={**{str(status): 0 for status in EvaluationStatus}, **dict(session.execute(statuses).all())},
        oldest_queued_seconds=0.0 if first is None else (at - first).total_seconds(),
        open_parts={
            **{str(state): 0 for state in LeaseState if state != LeaseState.DONE},
            **dict(session.execute(parts).all()),
        },
        open_items=items,
        workers=alive,
        worker_ages=[(at - worker.last_seen).total_seconds() for worker in alive],
    )


class EventTally:
    """How often each kind of event happened, ever. It reads only what came since it was asked last.

    Half a minute behind: an event is numbered when it is written and seen when it is committed, so a younger one may be
    seen first.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._last_id = 0
        self._lock = threading.Lock()

    def read(self, session: Session) -> dict[str, int]:
        """Counts by kind."""
        settled = now(session) - dt.timedelta(seconds=_SETTLED_SECONDS)
        with self._lock:
            newest = select(func.max(Event.id)).where(Event.id > self._last_id, Event.at <= settled)
            last_id = session.scalars(newest).one()
            if last_id is not None:
                fresh = select(Event.kind, func.count()).where(Event.id > self._last_id, Event.id <= last_id)
                self._counts.update(dict(session.execute(fresh.group_by(Event.kind)).all()))
                self._last_id = last_id
            return dict(self._counts)
