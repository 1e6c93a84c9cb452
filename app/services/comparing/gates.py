"""Gates: a candidate judged against a baseline, and the verdict kept; baselines that people promote by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.base import new_id
from app.db.clock import now
from app.db.models import Baseline, Gate
from app.db.session import Database
from app.db.statements import changed, insert_new
from app.errors import InvalidRequestError, NotFoundError
from app.representations.comparisons import ComparedMetric
from app.representations.gates import GateRequest
from app.services import events, idempotency
from app.services.answering import subjects
from app.services.answering.subjects import Answers, Subject
from app.services.comparing.compared_sides import IMAGE_VALUES, CommonClasses, check_same_truth, protocol_differences
from app.services.notifications import notices
from ensembles.alignment import shared_images
from ensembles.errors import Problem
from ensembles.gates import GateRule, judge_errors, judge_values


def judge(db: Database, artifacts: ArtifactStore, request: GateRequest, *, idempotency_key: str | None = None) -> str:
    """Judge, and keep the verdict; its id.

    Args:
        db: the database.
        artifacts: where outcomes lie.
        request: both sides and the rule.
        idempotency_key: the same key with the same request gets the same verdict.

    Raises:
        IdempotencyConflictError: the key came before with another request.
        InvalidRequestError: both sides are the same, share no image, disagree on a true class, or a class is unknown.
        NotFoundError: no such evaluation, member or baseline.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: an evaluation was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    with db.read() as session:
        if known := idempotency.earlier(session, "gate", idempotency_key, request):
            return known
        references = [_resolve(session, one) for one in (request.baseline, request.candidate)]
        base, candidate = (subjects.find(session, reference) for reference in references)
    if base.key == candidate.key:
        raise InvalidRequestError([Problem("candidate", "another than the baseline", request.candidate, "duplicate")])
    values = _shared_values(artifacts, (base, candidate), request.metric, request.classes)
    rule = GateRule(request.metric, request.margin, request.alpha)
    result = (judge_values if request.metric == "nll" else judge_errors)(values.base, values.candidate, rule)
    gate_id = new_id()
    row = {
        "id": gate_id,
        "baseline": request.baseline,
        "candidate": request.candidate,
        "baseline_reference": references[0],
        "baseline_evaluation_id": base.evaluation.id,
        "candidate_evaluation_id": candidate.evaluation.id,
        "verdict": result.verdict,
        "result": {
            **{name: value for name, value in asdict(result).items() if name not in ("rule", "n", "verdict")},
            **asdict(rule),
            "candidate_reference": references[1],
            "classes": request.classes,
            "baseline_value": float(values.base.mean()),
            "candidate_value": float(values.candidate.mean()),
            "n_used": result.n,
            "n_total": values.n_total,
            "sequential": False,
            "protocols_differ": list(protocol_differences(base, candidate)),
        },
    }
    with db.write() as session:

        def keep() -> str:
            session.add(Gate(**row))
            events.record(session, f"gate_{result.verdict}", evaluation_id=candidate.evaluation.id, subject_id=gate_id)
            notices.verdict_given(session, gate_id)
            return gate_id

        return idempotency.once(session, "gate", idempotency_key, request, keep)


def promote(db: Database, name: str, reference: str, note: str = "") -> None:
    """Let a name stand for an evaluation or member from now on; verdicts that were given keep theirs.

    Raises:
        NotFoundError: no such evaluation or member.
        StateConflictError: it has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
    """
    with db.read() as session:
        subject = subjects.find(session, reference)
    with db.write() as session:
        columns: dict[str, Any] = {
            "reference": reference,
            "evaluation_id": subject.evaluation.id,
            "note": note,
            "promoted_at": now(session),
        }
        if not insert_new(session, Baseline, {"id": new_id(), "name": name, **columns}):
            changed(session, update(Baseline).where(Baseline.name == name).values(**columns))
        events.record(session, "baseline_promoted", evaluation_id=subject.evaluation.id, name=name)


def forget(db: Database, name: str) -> None:
    """Remove a baseline's name; evaluations and verdicts stay.

    Raises:
        NotFoundError: there is none.
    """
    with db.write() as session:
        if not changed(session, delete(Baseline).where(Baseline.name == name)):
            raise NotFoundError("baseline", name, session.scalars(select(Baseline.name)))
        events.record(session, "baseline_forgotten", name=name)


def _resolve(session: Session, reference: str) -> str:
    """What a baseline's name stands for; anything else is a reference already."""
    named = session.scalars(select(Baseline.reference).where(Baseline.name == reference)).one_or_none()
    return reference if named is None else named


@dataclass(frozen=True, eq=False)
class _Values:
    """The metric's values of the images that are judged, (n_used,) each; both sides scored `n_total`."""

    base: NDArray[Any]
    candidate: NDArray[Any]
    n_total: int


def _shared_values(
    artifacts: ArtifactStore, sides: tuple[Subject, Subject], metric: ComparedMetric, classes: list[str] | None
) -> _Values:
    answers = subjects.read_answers(artifacts, sides)
    shared = shared_images([one.ids for one in answers])
    if not shared.ids:
        raise InvalidRequestError([Problem("candidate", "images that the baseline has scored too", "none")])
    common = CommonClasses()
    check_same_truth([side.reference for side in sides], [common.labels(one) for one in answers], shared)
    kept = _of_classes(answers[0], shared.positions[0], classes)
    base, candidate = (
        IMAGE_VALUES[metric](one.outcomes)[rows][kept] for one, rows in zip(answers, shared.positions, strict=True)
    )
    return _Values(base, candidate, len(shared.ids))


def _of_classes(base: Answers, rows: NDArray[np.int64], classes: list[str] | None) -> NDArray[np.bool_]:
    """Which of the shared images are of the classes asked for; all, where none is named."""
    if classes is None:
        return np.ones(len(rows), dtype=np.bool_)
    unknown = sorted(set(classes) - set(base.index.classes))
    if unknown:
        raise InvalidRequestError([Problem("classes", "names of classes of the baseline's data set", unknown)])
    wanted = [base.index.classes.index(name) for name in classes]
    kept = np.isin(base.outcomes.labels[rows], wanted)
    if not kept.any():
        raise InvalidRequestError([Problem("classes", "classes with images that both sides scored", classes)])
    return kept
