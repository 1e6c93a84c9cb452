"""Reads of evaluations and their scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row, String, and_, bindparam, func, or_, select
from sqlalchemy.orm import Session, defer, joinedload

from app.db.models import (
    LIVE_STATUSES,
    Checkpoint,
    Dataset,
    Evaluation,
    EvaluationMember,
    EvaluationOutcomes,
    EvaluationStatus,
    Score,
)
from app.db.queries import progress, workers
from app.db.queries.pages import contains, newest_first
from app.db.queries.progress import Link
from app.errors import NotFoundError
from app.representations.base import ErrorInfo, Page, version_of
from app.representations.ensembles import EvaluatedEnsembleDocument
from app.representations.evaluations import (
    ClassMappingDocument,
    EvaluationDocument,
    EvaluationSummary,
    MemberDocument,
    ScoreDocument,
    ScoreMember,
    ScoresDocument,
    ViewProgressDocument,
)
from ensembles.canonical import digest
from ensembles.class_orders import map_classes
from ensembles.protocol_titles import protocol_title

#: A list shows names: descriptions of networks, protocols and requests stay in the database.
_SUMMARY = (
    defer(Evaluation.protocol),
    defer(Evaluation.request),
    defer(Evaluation.provenance),
    joinedload(Evaluation.dataset).load_only(Dataset.name),
)
# Built once, and columns where rows are many: clients ask every other second.
_ID = bindparam("evaluation_id", type_=String())
_WHOLE = (
    select(Evaluation)
    .where(Evaluation.id == _ID)
    .options(joinedload(Evaluation.dataset).load_only(Dataset.name, Dataset.classes))
)
_MEMBERS = (
    select(
        EvaluationMember.position,
        EvaluationMember.protocol,
        EvaluationMember.protocol_name,
        EvaluationMember.weight,
        Checkpoint.id.label("checkpoint_id"),
        Checkpoint.name,
        Checkpoint.architecture_name,
        Checkpoint.training_scale_min,
        Checkpoint.training_scale_max,
        Checkpoint.class_names,
    )
    .join(EvaluationMember.checkpoint)
    .where(EvaluationMember.evaluation_id == _ID)
    .order_by(EvaluationMember.position)
)
_NAMES = (
    select(EvaluationMember.evaluation_id, Checkpoint.name)
    .join(EvaluationMember.checkpoint)
    .where(EvaluationMember.evaluation_id.in_(bindparam("ids", expanding=True)))
    .order_by(EvaluationMember.evaluation_id, EvaluationMember.position)
)

#: What else REST tells of an evaluation, each below its address.
_PARTS = ("scores", "classes", "confusion", "calibration", "agreement", "images", "paper")


def get(session: Session, evaluation_id: str) -> EvaluationDocument:
    """One evaluation with its progress.

    Raises:
        NotFoundError: there is none.
    """
    return _document(session, _find(session, evaluation_id))


def _document(session: Session, row: Evaluation) -> EvaluationDocument:
    members = session.execute(_MEMBERS, {"evaluation_id": row.id}).all()
    found = progress.links(session, row)
    alive = workers.alive(session) if row.status in LIVE_STATUSES else []
    return EvaluationDocument(
        id=row.id,
        status=row.status,
        dataset=row.dataset.name,
        protocol=row.protocol,
        protocol_name=row.protocol_name,
        protocol_title=row.protocol_name or protocol_title(row.protocol),
        checkpoints=[_member(member, row.dataset.classes, found) for member in members],
        fusion=row.fusion,
        ensemble=None if row.ensemble is None else EvaluatedEnsembleDocument.model_validate(row.ensemble),
        images=row.images,
        unreadable=row.unreadable,
        force=row.force,
        priority=row.priority,
        progress=progress.progress(row, found, progress.predictors(alive, found)),
        views=[_view(link, members[link.member_position].name, row.images) for link in found],
        waiting_for=progress.waiting_for(session, row, found, alive),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error=ErrorInfo.of(row.error_code, row.error_message),
        provenance=row.provenance,
        links={
            "self": f"/api/v1/evaluations/{row.id}",
            **{name: f"/api/v1/evaluations/{row.id}/{name}" for name in _PARTS},
            "page": f"/evaluations/{row.id}",
        },
    )


def list_page(
    session: Session,
    *,
    cursor: str | None,
    limit: int,
    status: str | None = None,
    dataset: str | None = None,
    search: str | None = None,
    checkpoint: str | None = None,
    ensemble: str | None = None,
) -> Page[EvaluationSummary]:
    """Evaluations, newest first.

    Args:
        session: to read with.
        cursor: `next` of the page before.
        limit: rows of a page.
        status: only those in this state.
        dataset: only those on the data set with this id or name.
        search: part of the name of the data set, of a checkpoint or of the protocol, or the beginning of the id.
        checkpoint: only those with a member of this id or name.
        ensemble: only those of the saved ensemble with this id.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the limit out of range.
    """
    rows = select(Evaluation).join(Evaluation.dataset)
    if status is not None:
        rows = rows.where(Evaluation.status == status)
    if dataset is not None:
        rows = rows.where(or_(Dataset.id == dataset, Dataset.name == dataset))
    members = select(EvaluationMember.evaluation_id).join(EvaluationMember.checkpoint)
    if checkpoint is not None:
        named = or_(Checkpoint.id == checkpoint, Checkpoint.name == checkpoint)
        rows = rows.where(Evaluation.id.in_(members.where(named)))
    if ensemble is not None:
        rows = rows.where(Evaluation.ensemble["id"].as_string() == ensemble)
    if search:
        like = contains(search)
        rows = rows.where(
            or_(
                Dataset.name.ilike(like, escape="\\"),
                Evaluation.protocol_name.ilike(like, escape="\\"),
                Evaluation.id.startswith(search, autoescape=True),
                Evaluation.id.in_(members.where(Checkpoint.name.ilike(like, escape="\\"))),
            )
        )
    return newest_first(
        session,
        rows.options(*_SUMMARY),
        (Evaluation.created_at, Evaluation.id),
        cursor=cursor,
        limit=limit,
        render=lambda found: _summaries(session, found),
    )


def scores(session: Session, evaluation_id: str) -> ScoresDocument:
    """Every score of an evaluation, its checkpoints called as they are now; none until it has succeeded.

    Raises:
        NotFoundError: there is no such evaluation.
    """
    status = session.scalars(select(Evaluation.status).where(Evaluation.id == evaluation_id)).one_or_none()
    if status is None:
        raise NotFoundError("evaluation", evaluation_id)
    rows = select(Score).where(Score.evaluation_id == evaluation_id).order_by(Score.position, Score.id)
    names = _present_names(session, evaluation_id)
    return ScoresDocument(
        evaluation=evaluation_id,
        status=status,
        items=[score_document(row, names) for row in session.scalars(rows)],
    )


def _present_names(session: Session, evaluation_id: str) -> dict[str, str]:
    """What the members are called now, by the names that they had when they were scored."""
    same_row = and_(
        EvaluationOutcomes.evaluation_id == Score.evaluation_id, EvaluationOutcomes.position == Score.position
    )
    own = and_(
        EvaluationMember.evaluation_id == Score.evaluation_id,
        EvaluationMember.position == EvaluationOutcomes.member_position,
    )
    pairs = (
        select(Score.subject_name, Checkpoint.name)
        .join(EvaluationOutcomes, same_row)
        .join(EvaluationMember, own)
        .join(Checkpoint, Checkpoint.id == EvaluationMember.checkpoint_id)
        .where(Score.evaluation_id == evaluation_id)
    )
    return dict(session.execute(pairs).all())


def version(session: Session, evaluation_id: str) -> tuple[str, Callable[[], EvaluationDocument]]:
    """An ETag's value, which changes whenever the evaluation's document does; and what gives the document.

    Raises:
        NotFoundError: there is no such evaluation.
    """
    row = _find(session, evaluation_id)
    if row.status == EvaluationStatus.SUCCEEDED:  # nothing changes any more but names
        at = row.finished_at.isoformat() if row.finished_at else None
        names = _member_names(session, [row.id])[row.id]
        return digest([evaluation_id, row.status, at, names])[:32], lambda: _document(session, row)
    document = _document(session, row)
    return version_of(document), lambda: document


def score_document(row: Score, names: Mapping[str, str] = MappingProxyType({})) -> ScoreDocument:
    """One score as JSON; `names` tells what checkpoints are called now that were renamed since."""
    return ScoreDocument(
        subject=row.subject,
        subject_name=names.get(row.subject_name, row.subject_name),
        members=[
            ScoreMember(**{**member, "checkpoint": names.get(member["checkpoint"], member["checkpoint"])})
            for member in row.members
        ],
        scales=row.scales,
        mode=row.mode,
        metric=row.metric,
        value=row.value,
        low=row.low,
        high=row.high,
        n=row.n,
        n_unreadable=row.n_unreadable,
    )


def _find(session: Session, evaluation_id: str) -> Evaluation:
    row = session.scalars(_WHOLE, {"evaluation_id": evaluation_id}).one_or_none()
    if row is None:
        raise NotFoundError("evaluation", evaluation_id)
    return row


def _member(row: Row[Any], classes: Sequence[str] | None, found: Sequence[Link]) -> MemberDocument:
    jitter = (row.training_scale_min, row.training_scale_max)
    mapping = map_classes(row.class_names, classes or [])
    views = (link.view for link in found if link.member_position == row.position)
    own = (view["scale"] for view in views if view["mode"] != "imported")
    return MemberDocument(
        checkpoint=row.name,
        checkpoint_id=row.checkpoint_id,
        architecture=row.architecture_name or "",
        training_scale=None if None in jitter else list(jitter),
        protocol=row.protocol,
        protocol_name=row.protocol_name,
        protocol_title=row.protocol_name or protocol_title(row.protocol),
        scales=sorted(set(own)),
        weight=row.weight,
        class_mapping=None if mapping is None else ClassMappingDocument(**mapping.to_dict()),
    )


def _view(link: Link, checkpoint: str, images: int) -> ViewProgressDocument:
    return ViewProgressDocument(
        checkpoint=checkpoint,
        mode=link.view["mode"],
        scale=link.view["scale"] or None,
        set_id=link.set_id,
        view_digest=link.view_digest,
        done=link.done,
        total=images,
        reused=link.reused,
    )


def _summaries(session: Session, rows: Sequence[Evaluation]) -> list[EvaluationSummary]:
    ids = [row.id for row in rows]
    final, names = _final_errors(session, ids), _member_names(session, ids)
    titles = _titles(session, [row.id for row in rows if row.protocol_name is None])
    return [
        EvaluationSummary(
            id=row.id,
            status=row.status,
            dataset=row.dataset.name,
            checkpoints=names[row.id],
            protocol_name=row.protocol_name,
            protocol_title=row.protocol_name or titles[row.id],
            priority=row.priority,
            images=row.images,
            top1_error=final.get((row.id, "top1_error")),
            top5_error=final.get((row.id, "top5_error")),
            created_at=row.created_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            error=ErrorInfo.of(row.error_code, row.error_message),
        )
        for row in rows
    ]


def _member_names(session: Session, ids: Sequence[str]) -> dict[str, list[str]]:
    """What the members are called now, in their order, by evaluation."""
    names: dict[str, list[str]] = {evaluation_id: [] for evaluation_id in ids}
    for evaluation_id, name in session.execute(_NAMES, {"ids": ids}):
        names[evaluation_id].append(name)
    return names


def _titles(session: Session, ids: Sequence[str]) -> dict[str, str]:
    """What the protocols without a name are called, by evaluation."""
    rows = select(Evaluation.id, Evaluation.protocol).where(Evaluation.id.in_(ids))
    return {evaluation_id: protocol_title(protocol) for evaluation_id, protocol in session.execute(rows)} if ids else {}


def _final_errors(session: Session, ids: Sequence[str]) -> dict[tuple[str, str], float]:
    """By (evaluation, metric) the last row's value: the ensemble's, or the only checkpoint's over all its views."""
    # The last position first: it and the evaluation name three rows, where a filter by metric alone names thousands.
    last = (
        select(Score.evaluation_id, func.max(Score.position).label("position"))
        .where(Score.evaluation_id.in_(ids))
        .group_by(Score.evaluation_id)
        .subquery()
    )
    rows = select(Score.evaluation_id, Score.metric, Score.value).join(
        last, and_(Score.evaluation_id == last.c.evaluation_id, Score.position == last.c.position)
    )
    return {
        (evaluation_id, metric): value
        for evaluation_id, metric, value in session.execute(rows)
        if metric in ("top1_error", "top5_error")
    }
