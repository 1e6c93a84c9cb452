"""Reads of the first page: the best numbers so far, and what runs now."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.db.conditions import is_any
from app.db.models import LIVE_STATUSES, Dataset, Evaluation, EvaluationStatus, RegistrationState, Score
from app.db.queries import evaluations
from app.db.queries.evaluations import score_document
from app.representations.evaluations import EvaluationDocument
from app.representations.overview import BestDocument, BestScore

#: How many live evaluations the first page shows.
_RUNNING = 20
#: Evaluations of one data set whose scores are looked through one by one.
_FEW = 100


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
    of_all_images = select(Evaluation.id).where(
        Evaluation.dataset_id == dataset.id,
        Evaluation.images == dataset.images,
        Evaluation.status == EvaluationStatus.SUCCEEDED,
    )
    rivals = session.scalars(of_all_images.limit(_FEW + 1)).all()
    if len(rivals) > _FEW:
        # From the lowest error of all data sets upwards: one of so many comes soon.
        lowest = select(Score).where(Score.metric == "top1_error", Score.subject == subject)
        lowest = lowest.where(of_all_images.where(Evaluation.id == Score.evaluation_id).exists())
    else:
        # That walk would pass every score there is before it meets one of so few. The expressions keep the
        # database from taking it all the same.
        lowest = select(Score).where(
            Score.evaluation_id.in_(rivals),
            func.coalesce(Score.metric, "") == "top1_error",
            func.coalesce(Score.subject, "") == subject,
        )
    row = session.scalars(lowest.order_by(Score.value, Score.id).limit(1)).one_or_none()
    return None if row is None else BestScore(evaluation=row.evaluation_id, score=score_document(row))
