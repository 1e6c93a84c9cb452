"""Reads for badges: the last word on an evaluation or one of its members."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.db.models import (
    LIVE_STATUSES,
    Dataset,
    Ensemble,
    Evaluation,
    EvaluationMember,
    EvaluationOutcomes,
    EvaluationStatus,
    Score,
)
from app.db.queries.lookup import find
from app.errors import NotFoundError
from app.representations.badges import LABELS, Badge, BadgeKind, BadgeMetric, metric_value


def get(session: Session, reference: str, metric: BadgeMetric) -> Badge:
    """The badge of `ID`, the ensemble or the only member of an evaluation, of `ID:NAME`, one member, or of an ensemble.

    A saved ensemble, by id or name, has the number of its newest evaluation that succeeded.

    Raises:
        NotFoundError: no such evaluation, member or ensemble.
    """
    key, named, name = reference.partition(":")
    evaluation = _evaluation(session, Evaluation.id == key)
    if evaluation is not None:
        member = _member(evaluation, name) if named else None
        return _badge(session, evaluation, member, member.checkpoint.name if member else _name(evaluation), metric)
    ensemble = _ensemble(session, reference)
    own = Evaluation.ensemble["id"].as_string() == ensemble.id
    evaluation = _evaluation(session, own, Evaluation.status == EvaluationStatus.SUCCEEDED) or _evaluation(session, own)
    title = f"the ensemble {ensemble.name}"
    if evaluation is None:
        return Badge(
            LABELS[metric], "not evaluated", f"{LABELS[metric]} of {title}: it was not evaluated yet", "pending"
        )
    return _badge(session, evaluation, None, title, metric)


def _badge(
    session: Session, evaluation: Evaluation, member: EvaluationMember | None, subject: str, metric: BadgeMetric
) -> Badge:
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
    title = f"{what}: {value} ({interval}{score.n:,} images)"
    if member is None and (evaluation.ensemble or {}).get("selection_biased"):
        # A number that is too good on average does not travel without saying so.
        return Badge(LABELS[metric], f"{value}, selected", f"{title}, selection-biased", "result")
    return Badge(LABELS[metric], value, title, "result")


def _evaluation(session: Session, *conditions: ColumnElement[bool]) -> Evaluation | None:
    """The newest of those."""
    whole = (
        joinedload(Evaluation.dataset).load_only(Dataset.name),
        selectinload(Evaluation.members).joinedload(EvaluationMember.checkpoint),
    )
    newest = (Evaluation.created_at.desc(), Evaluation.id.desc())
    rows = select(Evaluation).where(*conditions).order_by(*newest).limit(1).options(*whole)
    return session.scalars(rows).one_or_none()


def _ensemble(session: Session, key: str) -> Ensemble:
    try:
        return find(session, Ensemble, key)
    except NotFoundError:
        raise NotFoundError("evaluation or ensemble", key) from None


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
