"""Conditions on rows that services and queries share: what is wanted, what is left, what may be taken now."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, exists, literal_column, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from app.db.models import (
    Evaluation,
    EvaluationSet,
    EvaluationStatus,
    LeaseState,
    PredictionPart,
    PredictionSet,
)

#: A moment, or the parameter of a statement that is built once.
Moment = dt.datetime | ColumnElement[dt.datetime]
#: Evaluations whose prediction sets workers still fill.
UNPREDICTED = (EvaluationStatus.QUEUED, EvaluationStatus.PREDICTING)


def is_any(column: InstrumentedAttribute[Any], *values: str) -> ColumnElement[bool]:
    """`column IN (values)` with the values in the text of the statement: partial indexes match only then."""
    return column.in_(bindparam(None, [str(value) for value in values], expanding=True, literal_execute=True))


def is_open() -> ColumnElement[bool]:
    """A part that is not done, in the words of the partial index on such parts."""
    return PredictionPart.state != bindparam(None, str(LeaseState.DONE), literal_execute=True)


def has_unreadable() -> ColumnElement[bool]:
    """A part with images that could not be read, in the words of the partial index on such parts."""
    return PredictionPart.n_unreadable > bindparam(None, 0, literal_execute=True)


def is_due(at: Moment) -> ColumnElement[bool]:
    """A pending part whose pause after an error is over."""
    paused_until = PredictionPart.not_before
    return and_(is_open(), PredictionPart.state == LeaseState.PENDING, or_(paused_until.is_(None), paused_until <= at))


def has_uncarved_images() -> ColumnElement[bool]:
    """An evaluation that wants more of a set than was handed out."""
    return exists().where(*_uncarved())


def has_part(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """An evaluation that wants a part which meets the conditions."""
    return exists().where(*_parts(), *conditions)


def is_predicted() -> ColumnElement[bool]:
    """An evaluation whose prediction sets are done as far as it wants them."""
    return and_(~has_uncarved_images(), ~has_part(is_open()))


def is_claimable(at: Moment) -> ColumnElement[bool]:
    """An evaluation of which a worker could take a slice now; made for whoever looks for the first few."""
    return and_(is_any(Evaluation.status, *UNPREDICTED), or_(_has_one(*_uncarved()), _has_one(*_parts(), is_due(at))))


def _uncarved() -> tuple[ColumnElement[bool], ...]:
    return (
        EvaluationSet.evaluation_id == Evaluation.id,
        PredictionSet.id == EvaluationSet.set_id,
        PredictionSet.frontier < EvaluationSet.stop,
    )


def _parts() -> tuple[ColumnElement[bool], ...]:
    return (
        EvaluationSet.evaluation_id == Evaluation.id,
        PredictionPart.set_id == EvaluationSet.set_id,
        PredictionPart.start < EvaluationSet.stop,
    )


def _has_one(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """EXISTS, asked of one evaluation after the other.

    To an EXISTS, PostgreSQL may find the answers of all evaluations before it looks at the first.
    """
    one: Select[Any] = select(literal_column("1")).where(*conditions).correlate(Evaluation).limit(1)
    return one.scalar_subquery().is_not(None)


def wanted_part() -> ColumnElement[bool]:
    """A part that some evaluation still waits for."""
    return exists().where(
        EvaluationSet.set_id == PredictionPart.set_id,
        EvaluationSet.stop > PredictionPart.start,
        Evaluation.id == EvaluationSet.evaluation_id,
        is_any(Evaluation.status, *UNPREDICTED),
    )
