"""Why an evaluation cannot succeed any more: a failed part, or an image that could not be read."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.db.conditions import UNPREDICTED, has_unreadable, is_any, is_open
from app.db.models import Evaluation, EvaluationMember, EvaluationSet, LeaseState, PredictionPart
from ensembles.errors import UnreadableImageError


@dataclass(frozen=True)
class Verdict:
    """The error that an evaluation ends with."""

    code: str
    message: str


def failures(session: Session, evaluation_id: str | None = None) -> dict[str, Verdict]:
    """Evaluations that must fail, by id; of all, or only of one."""
    of_interest = () if evaluation_id is None else (EvaluationSet.evaluation_id == evaluation_id,)
    return {**_unreadable(session, *of_interest), **_failed_parts(session, *of_interest)}


def _failed_parts(session: Session, *of_interest: ColumnElement[bool]) -> dict[str, Verdict]:
    failed = (
        select(EvaluationSet.evaluation_id, PredictionPart.error_code, PredictionPart.error_message)
        .join(PredictionPart, PredictionPart.set_id == EvaluationSet.set_id)
        .join(Evaluation, Evaluation.id == EvaluationSet.evaluation_id)
        .where(
            is_open(),
            PredictionPart.state == LeaseState.FAILED,
            PredictionPart.start < EvaluationSet.stop,
            is_any(Evaluation.status, *UNPREDICTED),
            *of_interest,
        )
        .order_by(PredictionPart.start.desc(), PredictionPart.id.desc())
    )
    # The last one stays: the first failed part in canonical order.
    return {row[0]: Verdict(row[1] or "failed", row[2] or "a part failed") for row in session.execute(failed)}


def _unreadable(session: Session, *of_interest: ColumnElement[bool]) -> dict[str, Verdict]:
    """Evaluations with the policy `fail` that want an image which some view could not read."""
    parts = (
        select(EvaluationSet.evaluation_id, Evaluation.images, EvaluationMember.protocol, PredictionPart.unreadable)
        .join(PredictionPart, PredictionPart.set_id == EvaluationSet.set_id)
        .join(Evaluation, Evaluation.id == EvaluationSet.evaluation_id)
        .join(
            EvaluationMember,
            (EvaluationMember.evaluation_id == EvaluationSet.evaluation_id)
            & (EvaluationMember.position == EvaluationSet.member_position),
        )
        .where(
            has_unreadable(),
            PredictionPart.start < EvaluationSet.stop,
            PredictionPart.state == LeaseState.DONE,
            is_any(Evaluation.status, *UNPREDICTED),
            Evaluation.unreadable == "fail",
            *of_interest,
        )
    )
    found: dict[str, dict[int, tuple[str, str]]] = {}
    for evaluation_id, images, protocol, unreadable in session.execute(parts):
        excluded = set(protocol.get("exclude") or ())
        for image in unreadable:
            if image["index"] < images and image["image_id"] not in excluded:
                found.setdefault(evaluation_id, {})[image["index"]] = (image["image_id"], image["reason"])
    return {evaluation_id: _verdict(images) for evaluation_id, images in found.items()}


def _verdict(images: dict[int, tuple[str, str]]) -> Verdict:
    image_id, reason = images[min(images)]
    count = "1 image" if len(images) == 1 else f"{len(images)} images"
    message = (
        f"{count} could not be read, first {image_id!r}: {reason}; "
        'repair the data set, or submit with unreadable = "skip" to score the rest'
    )
    return Verdict(UnreadableImageError.code, message)
