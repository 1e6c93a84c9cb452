"""Reads of the first page: the best numbers so far, and what runs now."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.conditions import is_any
from app.db.models import LIVE_STATUSES, Dataset, Evaluation, EvaluationStatus, RegistrationState, Score
from app.db.queries import evaluations
from app.db.queries.evaluations import score_document
from app.representations.evaluations import EvaluationDocument
from app.representations.overview import BestDocument, BestScore

#: How many live evaluations the first page shows.
_RUNNING = 20


def best(session: Session) -> list[BestDocument]:
    """For each data set the lowest top-1 error of a single checkpoint and of an ensemble, over all its images."""
    ready = select(Dataset).where(Dataset.state == RegistrationState.READY).order_by(Dataset.name)
    return [
        BestDocument(
            dataset=row.name,
            images=row.images or 0,
            checkpoint=_best(session, row, "checkpoint"),
            ensemble=_best(session, row, "ensemble"),
        )
        for row in session.scalars(ready)
    ]


def running(session: Session) -> list[EvaluationDocument]:
    """Live evaluations: those that move first, then in the order of their turn."""
    rows = (
        select(Evaluation.id)
        .where(is_any(Evaluation.status, *LIVE_STATUSES))
        .order_by(
            Evaluation.status == EvaluationStatus.QUEUED,
            Evaluation.priority.desc(),
            Evaluation.last_turn_at.desc(),
            Evaluation.id,
        )
        .limit(_RUNNING)
    )
    return [evaluations.get(session, evaluation_id) for evaluation_id in session.scalars(rows).all()]


def _best(session: Session, dataset: Dataset, subject: str) -> BestScore | None:
    """An evaluation of some images only is no rival of one of all."""
    lowest = (
        select(Score)
        .join(Evaluation, Evaluation.id == Score.evaluation_id)
        .where(
            Score.metric == "top1_error",
            Score.subject == subject,
            Evaluation.dataset_id == dataset.id,
            Evaluation.images == dataset.images,
        )
        .order_by(Score.value, Score.id)
        .limit(1)
    )
    row = session.scalars(lowest).one_or_none()
    return None if row is None else BestScore(evaluation=row.evaluation_id, score=score_document(row))
