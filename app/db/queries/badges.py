"""Reads for badges: the last word on an evaluation or one of its members."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.models import (
    LIVE_STATUSES,
    Dataset,
    Evaluation,
    EvaluationMember,
    EvaluationOutcomes,
    EvaluationStatus,
    Score,
)
from app.errors import NotFoundError
from app.representations.badges import LABELS, Badge, BadgeKind, BadgeMetric, metric_value


def get(session: Session, reference: str, metric: BadgeMetric) -> Badge:
    """The badge of `ID`, the ensemble or the only member, or of `ID:NAME`, one member.

    Raises:
        NotFoundError: no such evaluation or member.
    """
    key, named, name = reference.partition(":")
    evaluation = _evaluation(session, key)
    member = _member(evaluation, name) if named else None
    subject = member.checkpoint.name if member else _name(evaluation)
    what = f"{LABELS[metric]} of {subject} on {evaluation.dataset.name}"
    if evaluation.status in LIVE_STATUSES:
        return Badge(LABELS[metric], "pending", f"{what}: not known yet, {evaluation.status}", "pending")
    if evaluation.status != EvaluationStatus.SUCCEEDED:
        kind: BadgeKind = "failed" if evaluation.status == EvaluationStatus.FAILED else "pending"
        return Badge(LABELS[metric], evaluation.status, f"{what}: the evaluation is {evaluation.status}", kind)
    score = _score(session, evaluation.id, member, metric)
    if score is None:
        return Badge(LABELS[metric], "not defined", f"{what}: not defined", "pending")
    value = metric_value(metric, score.value, score.n)
    interval = ""
    if score.low is not None and score.high is not None:
        low, high = (metric_value(metric, end, score.n) for end in (score.low, score.high))
        interval = f"95 % interval {low} to {high}, "
    return Badge(LABELS[metric], value, f"{what}: {value} ({interval}{score.n:,} images)", "result")


def _evaluation(session: Session, key: str) -> Evaluation:
    whole = (
        joinedload(Evaluation.dataset).load_only(Dataset.name),
        selectinload(Evaluation.members).joinedload(EvaluationMember.checkpoint),
    )
    row = session.scalars(select(Evaluation).where(Evaluation.id == key).options(*whole)).one_or_none()
    if row is None:
        raise NotFoundError("evaluation", key)
    return row


def _member(evaluation: Evaluation, name: str) -> EvaluationMember:
    for member in evaluation.members:
        if name in (member.checkpoint.name, member.checkpoint.id):
            return member
    raise NotFoundError("member", name, (member.checkpoint.name for member in evaluation.members))


def _name(evaluation: Evaluation) -> str:
    return "the ensemble" if len(evaluation.members) > 1 else evaluation.members[0].checkpoint.name


def _score(session: Session, evaluation_id: str, member: EvaluationMember | None, metric: str) -> Score | None:
    """The last row's score, or that of a member over all of its views: where its outcomes stand."""
    own = Score.evaluation_id == evaluation_id
    if member is None:
        position = select(func.max(Score.position)).where(own).scalar_subquery()
    else:
        position = (
            select(EvaluationOutcomes.position)
            .where(
                EvaluationOutcomes.evaluation_id == evaluation_id, EvaluationOutcomes.member_position == member.position
            )
            .scalar_subquery()
        )
    return session.scalars(select(Score).where(own, Score.position == position, Score.metric == metric)).one_or_none()
