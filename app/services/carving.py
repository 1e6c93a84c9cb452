"""Which slice a worker gets: whose turn it is, what came back first, then new parts carved at the frontier."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload

from app.db.base import new_id
from app.db.clock import now
from app.db.conditions import is_any, is_claimable, is_due
from app.db.models import PRIORITIES, Evaluation, EvaluationSet, EvaluationStatus, PredictionPart, PredictionSet
from app.db.session import Database
from app.db.statements import changed, lock_rows
from app.services import datasets, events, leases
from app.services.slices import LeasedPart, LeasedSlice
from app.services.slicing import Candidate, next_slice, split_point
from ensembles.class_orders import map_classes

#: How often a lease looks again when others took what it had chosen.
_ATTEMPTS = 5
#: A part that came back is cut when it would take so many times the wished duration.
_CUT_ABOVE = 2.0


def lease_slice(
    db: Database, worker_id: str, macs_per_second: float, target_seconds: float = 30.0
) -> LeasedSlice | None:
    """Take the next slice of the evaluation whose turn it is: highest priority, then the longest since its last turn.

    Parts that came back go before new ones. A slice takes about `target_seconds`, at least one block of one set.

    Args:
        db: the database.
        worker_id: who takes it.
        macs_per_second: the worker's measured rate.
        target_seconds: how long the slice should take.

    Returns:
        None when nothing can be taken now.
    """
    for _ in range(_ATTEMPTS):
        try:
            with db.write() as session:
                return _lease(session, worker_id, macs_per_second * target_seconds)
        except _OvertakenError:
            continue
    return None


class _OvertakenError(Exception):
    """Others took or cancelled what was chosen; the transaction is rolled back and the choice made again."""


def _lease(session: Session, worker_id: str, macs_budget: float) -> LeasedSlice | None:
    at = now(session)
    evaluation_id = _whose_turn(session, at)
    if evaluation_id is None:
        return None
    stops = _stops(session, evaluation_id)
    # From here on nobody else leases from these sets, so that what is read now is still so when it is written.
    lock_rows(session, PredictionSet, stops)
    rows = (
        select(PredictionSet)
        .where(PredictionSet.id.in_(stops))
        .options(joinedload(PredictionSet.checkpoint), joinedload(PredictionSet.dataset))
    )
    sets = {row.id: row for row in session.scalars(rows)}
    parts = _returned(session, sets, stops, macs_budget, at) or _carve(session, sets, stops, macs_budget)
    if not parts:
        raise _OvertakenError
    for part in sorted(parts, key=lambda part: part.id):
        if not leases.take(session, PredictionPart, part.id, part.token, worker_id, at):
            raise _OvertakenError
    _note_turn(session, evaluation_id, parts, at)
    for part in parts:
        events.record(
            session,
            "part_leased",
            evaluation_id=evaluation_id,
            subject_id=part.id,
            worker_id=worker_id,
            token=part.token + 1,
            start=part.start,
            stop=part.stop,
        )
    return _describe(parts, sets)


def _whose_turn(session: Session, at: dt.datetime) -> str | None:
    """The claimable evaluation of the highest priority that waited longest.

    One query a priority: each walks the index on turns and stops at the first hit, where a single one would look at
    every live evaluation before it could sort them.
    """
    for priority in reversed(PRIORITIES):
        turn = (
            select(Evaluation.id)
            .where(is_claimable(at), Evaluation.priority == priority)
            .order_by(Evaluation.last_turn_at, Evaluation.id)
            .limit(1)
        )
        evaluation_id = session.scalars(turn).one_or_none()
        if evaluation_id is not None:
            return evaluation_id
    return None


def _stops(session: Session, evaluation_id: str) -> dict[str, int]:
    """How far the evaluation wants each of its sets."""
    wanted = select(EvaluationSet.set_id, EvaluationSet.stop).where(EvaluationSet.evaluation_id == evaluation_id)
    return dict(session.execute(wanted).all())


def _returned(
    session: Session, sets: Mapping[str, PredictionSet], stops: Mapping[str, int], macs_budget: float, at: dt.datetime
) -> list[PredictionPart]:
    """Pending parts of one range of images, as many as fit the budget; a longer part is cut."""
    due = session.scalars(
        select(PredictionPart)
        .where(PredictionPart.set_id.in_(sets), is_due(at))
        .order_by(PredictionPart.start, PredictionPart.stop, PredictionPart.id)
        .execution_options(populate_existing=True)
    )
    wanted = [part for part in due if part.start < stops[part.set_id]]
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
            leases.cut(session, part, middle)
    return chosen


def _carve(
    session: Session, sets: Mapping[str, PredictionSet], stops: Mapping[str, int], macs_budget: float
) -> list[PredictionPart]:
    """New parts at the frontier of the sets that are furthest behind."""
    candidates = [
        Candidate(row.id, row.frontier, stops[row.id], row.block, row.macs_per_image)
        for row in sets.values()
        if row.frontier < stops[row.id]
    ]
    if not candidates:
        return []
    slice_ = next_slice(candidates, macs_budget)
    parts = []
    for set_id in sorted(slice_.set_ids):
        here = (PredictionSet.id == set_id, PredictionSet.frontier == slice_.start)
        if changed(session, update(PredictionSet).where(*here).values(frontier=slice_.stop)):
            parts.append(PredictionPart(id=new_id(), set_id=set_id, start=slice_.start, stop=slice_.stop, token=0))
    session.add_all(parts)
    session.flush()
    return parts


def _note_turn(session: Session, evaluation_id: str, parts: Sequence[PredictionPart], at: dt.datetime) -> None:
    """Count the turn of the chosen evaluation; whoever waits for these images is being predicted from now on."""
    waiting = (
        select(EvaluationSet.evaluation_id)
        .join(Evaluation, Evaluation.id == EvaluationSet.evaluation_id)
        .where(
            EvaluationSet.set_id.in_([part.set_id for part in parts]),
            EvaluationSet.stop > parts[0].start,
            is_any(Evaluation.status, EvaluationStatus.QUEUED),
        )
    )
    ids = {evaluation_id, *session.scalars(waiting)}
    lock_rows(session, Evaluation, ids)
    queued = (Evaluation.id.in_(ids), Evaluation.status == EvaluationStatus.QUEUED)
    changed(session, update(Evaluation).where(*queued).values(status=EvaluationStatus.PREDICTING, started_at=at))
    chosen = (Evaluation.id == evaluation_id, Evaluation.status == EvaluationStatus.PREDICTING)
    if not changed(session, update(Evaluation).where(*chosen).values(last_turn_at=at)):
        raise _OvertakenError


def _describe(parts: Sequence[PredictionPart], sets: Mapping[str, PredictionSet]) -> LeasedSlice:
    dataset = sets[parts[0].set_id].dataset
    return LeasedSlice(
        start=parts[0].start,
        stop=parts[0].stop,
        dataset_id=dataset.id,
        dataset_root=str(datasets.root_of(dataset)),
        dataset_name=dataset.name,
        index_key=str(dataset.index_key),
        index_sha256=str(dataset.index_sha256),
        parts=tuple(_leased_part(part, sets[part.set_id]) for part in parts),
    )


def _leased_part(part: PredictionPart, row: PredictionSet) -> LeasedPart:
    checkpoint = row.checkpoint
    mapping = map_classes(checkpoint.class_names, row.dataset.classes or [])
    return LeasedPart(
        id=part.id,
        token=part.token + 1,
        set_id=row.id,
        view=row.view,
        checkpoint_id=checkpoint.id,
        checkpoint_name=checkpoint.name,
        checkpoint_path=str(checkpoint.path),
        checkpoint_sha256=str(checkpoint.sha256),
        architecture=checkpoint.architecture or {},
        preprocessing=checkpoint.preprocessing or {},
        batch_limit=part.batch,
        class_outputs=None if mapping is None else mapping.outputs,
    )
