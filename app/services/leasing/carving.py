"""Which slice a worker gets: whose turn it is, what came back first, then new parts carved at the frontier."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, bindparam, case, func, insert, select, update
from sqlalchemy.orm import Session

from app.db.base import UtcDateTime, new_id
from app.db.clock import now
from app.db.conditions import UNPREDICTED, is_any, is_claimable, is_due
from app.db.models import (
    PRIORITIES,
    Evaluation,
    EvaluationSet,
    EvaluationStatus,
    PredictionPart,
    PredictionSet,
)
from app.db.session import Database
from app.db.statements import changed, table_of
from app.fault_points import reach
from app.services import events
from app.services.leasing import leases
from app.services.leasing.slice_details import TakenPart, describe_slice
from app.services.leasing.slices import LeasedSlice
from app.services.leasing.slicing import Candidate, next_slice, split_point

#: How often a lease looks again when others took what it had chosen.
_ATTEMPTS = 5
#: Of the evaluations that wait for the same images, so many are noted as begun by one lease.
_BEGUN_AT_ONCE = 10
#: A part that came back is cut when it would take so many times the wished duration.
_CUT_ABOVE = 2.0

# Built once: putting such a statement together takes longer than running it.
_AT = bindparam("at", type_=UtcDateTime())
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_NEXT_PRIORITY = select(func.max(Evaluation.priority)).where(
    is_any(Evaluation.status, *UNPREDICTED), Evaluation.priority < bindparam("below")
)
_TURN = select(Evaluation.id).where(is_claimable(_AT)).order_by(Evaluation.last_turn_at, Evaluation.id).limit(1)
# Mostly there is something to take at the highest priority, and one question is enough.
_FIRST_TURN = _TURN.where(Evaluation.priority == _NEXT_PRIORITY.correlate(None).scalar_subquery())
_TURN_AT = _TURN.where(Evaluation.priority == bindparam("priority"))
# Locked in the order of their ids, so that two leases never deadlock. SQLite knows no such lock and needs none.
_WANTED_SETS = (
    select(
        PredictionSet.id,
        PredictionSet.frontier,
        EvaluationSet.stop,
        PredictionSet.block,
        PredictionSet.macs_per_image,
    )
    .join(EvaluationSet, EvaluationSet.set_id == PredictionSet.id)
    .where(EvaluationSet.evaluation_id == bindparam("evaluation_id"))
    .order_by(PredictionSet.id)
    .with_for_update(key_share=True, of=PredictionSet)
)
_DUE_PARTS = (
    select(
        PredictionPart.id,
        PredictionPart.set_id,
        PredictionPart.start,
        PredictionPart.stop,
        PredictionPart.token,
        PredictionPart.batch,
        PredictionPart.lost_leases,
    )
    .where(
        # Not a join: an evaluation may want a set more than once.
        PredictionPart.set_id.in_(
            select(EvaluationSet.set_id).where(EvaluationSet.evaluation_id == bindparam("evaluation_id"))
        ),
        is_due(_AT),
    )
    .order_by(PredictionPart.start, PredictionPart.stop, PredictionPart.id)
)
# OFFSET 0 keeps PostgreSQL from walking all evaluations in the hope of a few that are queued.
_USERS = (
    select(EvaluationSet.evaluation_id)
    .where(EvaluationSet.set_id.in_(_IDS), EvaluationSet.stop > bindparam("start"))
    .offset(0)
)
# What somebody else has locked is left to a later slice: whoever waits here holds rows that others may wait for.
_QUEUED_FOR = (
    select(Evaluation.id)
    .where(is_any(Evaluation.status, EvaluationStatus.QUEUED), Evaluation.id.in_(_USERS))
    .limit(_BEGUN_AT_ONCE)
    .with_for_update(key_share=True, skip_locked=True)
)
_CARVED = (
    update(table_of(PredictionSet))
    .where(PredictionSet.id.in_(_IDS), PredictionSet.frontier == bindparam("start"))
    .values(frontier=bindparam("stop"))
)
_NEW_PARTS = insert(table_of(PredictionPart))
_BEGUN = (
    update(table_of(Evaluation))
    .where(Evaluation.id.in_(_QUEUED_FOR))
    .values(status=EvaluationStatus.PREDICTING, started_at=_AT)
)
_TURN_TAKEN = (
    update(table_of(Evaluation))
    .where(Evaluation.id == bindparam("evaluation_id"), is_any(Evaluation.status, *UNPREDICTED))
    .values(
        status=EvaluationStatus.PREDICTING,
        started_at=case((Evaluation.status == EvaluationStatus.QUEUED, _AT), else_=Evaluation.started_at),
        last_turn_at=_AT,
    )
)


def lease_slice(
    db: Database,
    worker_id: str,
    macs_per_second: float,
    target_seconds: float = 30.0,
    lease_seconds: float = leases.LEASE_SECONDS,
) -> LeasedSlice | None:
    """Take the next slice of the evaluation whose turn it is: highest priority, then the longest since its last turn.

    Parts that came back go before new ones. A slice takes about `target_seconds`, at least one block of one set.

    Args:
        db: the database.
        worker_id: who takes it.
        macs_per_second: the worker's measured rate.
        target_seconds: how long the slice should take.
        lease_seconds: without a heartbeat for so long, it may go to somebody else.

    Returns:
        None when nothing can be taken now.
    """
    for _ in range(_ATTEMPTS):
        try:
            with db.write() as session:
                return _lease(session, worker_id, macs_per_second * target_seconds, lease_seconds)
        except _OvertakenError:
            continue
    return None


class _OvertakenError(Exception):
    """Others took or cancelled what was chosen; the transaction is rolled back and the choice made again."""


def _lease(session: Session, worker_id: str, macs_budget: float, lease_seconds: float) -> LeasedSlice | None:
    at = now(session)
    evaluation_id = _whose_turn(session, at)
    if evaluation_id is None:
        return None
    sets = _wanted_sets(session, evaluation_id)
    hold = leases.Hold(worker_id, at, lease_seconds)
    parts = _take_returned(session, evaluation_id, sets, macs_budget, hold) or _carve(session, sets, macs_budget, hold)
    if not parts:
        raise _OvertakenError
    _note_turn(session, evaluation_id, parts, at)
    events.record_all(
        session,
        "part_leased",
        [
            {"subject_id": part.id, "token": part.token, "detail": {"start": part.start, "stop": part.stop}}
            for part in parts
        ],
        evaluation_id=evaluation_id,
        worker_id=worker_id,
    )
    session.flush()
    reach("lease.before_commit")
    return describe_slice(session, parts)


@dataclass(frozen=True)
class _WantedSet:
    """One of the evaluation's sets, without what only a worker needs; `stop` is how far the evaluation wants it."""

    id: str
    frontier: int
    stop: int
    block: int
    macs_per_image: float


def _whose_turn(session: Session, at: dt.datetime) -> str | None:
    """The claimable evaluation of the highest priority that waited longest.

    One query a priority: each walks the index on turns and stops at the first hit, where a single one would look at
    every live evaluation before it could sort them.
    """
    below = PRIORITIES.stop
    if (evaluation_id := session.execute(_FIRST_TURN, {"at": at, "below": below}).scalar()) is not None:
        return evaluation_id
    while (priority := session.execute(_NEXT_PRIORITY, {"below": below}).scalar()) is not None:
        if (evaluation_id := session.execute(_TURN_AT, {"at": at, "priority": priority}).scalar()) is not None:
            return evaluation_id
        below = priority
    return None


def _wanted_sets(session: Session, evaluation_id: str) -> dict[str, _WantedSet]:
    """The evaluation's sets, locked: what is read of them now is still so when it is written."""
    rows = session.execute(_WANTED_SETS, {"evaluation_id": evaluation_id})
    return {row.id: _WantedSet(*row) for row in rows}


def _take_returned(
    session: Session, evaluation_id: str, sets: Mapping[str, _WantedSet], macs_budget: float, hold: leases.Hold
) -> list[TakenPart]:
    """Pending parts of one range of images, as many as fit the budget; a longer part is cut."""
    due = session.execute(_DUE_PARTS, {"evaluation_id": evaluation_id, "at": hold.at})
    wanted = [part for part in due if part.start < sets[part.set_id].stop]
    if not wanted:
        return []
    start, stop = wanted[0].start, wanted[0].stop
    same = [part for part in wanted if (part.start, part.stop) == (start, stop)]
    same.sort(key=lambda part: (sets[part.set_id].macs_per_image, part.id))
    chosen, macs_per_image = same[:1], sets[same[0].set_id].macs_per_image
    for part in same[1:]:
        wider = macs_per_image + sets[part.set_id].macs_per_image
        if wider * (stop - start) <= macs_budget:
            chosen, macs_per_image = [*chosen, part], wider
    block = max(sets[part.set_id].block for part in chosen)
    middle = split_point(start, stop, block, int(macs_budget / max(macs_per_image, 1.0)))
    # A faster worker may have made it: a slower one must not sit on it for hours. Small differences are no reason.
    if (stop - start) * macs_per_image > _CUT_ABOVE * macs_budget and middle < stop:
        for part in chosen:
            leases.cut(session, session.get_one(PredictionPart, part.id), middle)
        stop = middle
    for part in sorted(chosen, key=lambda part: part.id):
        if not leases.take(session, PredictionPart, part.id, part.token, hold):
            raise _OvertakenError
    return [
        TakenPart(part.id, part.set_id, start, stop, part.token + 1, part.batch, part.lost_leases) for part in chosen
    ]


def _carve(session: Session, sets: Mapping[str, _WantedSet], macs_budget: float, hold: leases.Hold) -> list[TakenPart]:
    """New parts at the frontier of the sets that are furthest behind, in the worker's hands from the first moment."""
    candidates = [
        Candidate(row.id, row.frontier, row.stop, row.block, row.macs_per_image)
        for row in sets.values()
        if row.frontier < row.stop
    ]
    if not candidates:
        return []
    slice_ = next_slice(candidates, macs_budget)
    carved = {"ids": slice_.set_ids, "start": slice_.start, "stop": slice_.stop}
    if changed(session, _CARVED, carved) != len(slice_.set_ids):
        raise _OvertakenError
    parts = [
        TakenPart(new_id(), set_id, slice_.start, slice_.stop, leases.FIRST_TOKEN, None)
        for set_id in sorted(slice_.set_ids)
    ]
    rows = [
        {"id": part.id, "set_id": part.set_id, "start": part.start, "stop": part.stop, **hold.columns(part.token)}
        for part in parts
    ]
    session.execute(_NEW_PARTS, rows)
    return parts


def _note_turn(session: Session, evaluation_id: str, parts: Sequence[TakenPart], at: dt.datetime) -> None:
    """Count the turn of the chosen evaluation; others that wait for these images are being predicted from now on.

    Where they are many, the next slices note the rest, so that no lease holds its locks for long.
    """
    if not changed(session, _TURN_TAKEN, {"evaluation_id": evaluation_id, "at": at}):
        raise _OvertakenError
    changed(session, _BEGUN, {"ids": [part.set_id for part in parts], "start": parts[0].start, "at": at})
