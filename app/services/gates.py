"""Gates: a candidate judged against a baseline, and the verdict kept; baselines that people promote by name."""

from __future__ import annotations

from dataclasses import asdict
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
from app.representations.gates import GateRequest
from app.services import events, subjects
from app.services.compared_sides import protocol_differences
from app.services.subjects import Answers, Subject
from ensembles.alignment import shared_images
from ensembles.errors import Problem
from ensembles.gates import GateResult, GateRule, judge_errors, judge_values
from ensembles.outcomes import ImageOutcomes

_K = {"top1_error": 1, "top5_error": 5}


def judge(db: Database, artifacts: ArtifactStore, request: GateRequest) -> str:
    """Judge, and keep the verdict; its id.

    Raises:
        InvalidRequestError: both sides are the same, share no image, disagree on a true class, or a class is unknown.
        NotFoundError: no such evaluation, member or baseline.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: an evaluation was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    with db.read() as session:
        references = [_resolve(session, one) for one in (request.baseline, request.candidate)]
        base, candidate = (subjects.find(session, reference) for reference in references)
    if base.key == candidate.key:
        raise InvalidRequestError([Problem("candidate", "another than the baseline", request.candidate, "duplicate")])
    of_base, of_candidate, n_total = _shared_outcomes(artifacts, base, candidate, request.classes)
    rule = GateRule(request.metric, request.margin, request.alpha)
    result, values = _judged(of_base, of_candidate, rule)
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
            "classes": request.classes,
            "baseline_value": values[0],
            "candidate_value": values[1],
            "n_used": result.n,
            "n_total": n_total,
            "sequential": False,
            "protocols_differ": list(protocol_differences(base, candidate)),
        },
    }
    with db.write() as session:
        session.add(Gate(**row))
        events.record(session, f"gate_{result.verdict}", evaluation_id=candidate.evaluation.id, subject_id=gate_id)
    return gate_id


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


def _shared_outcomes(
    artifacts: ArtifactStore, base: Subject, candidate: Subject, classes: list[str] | None
) -> tuple[ImageOutcomes, ImageOutcomes, int]:
    """Outcomes of the images that both scored, of the classes asked for; and how many both scored of all classes."""
    left, right = subjects.read_answers(artifacts, (base, candidate))
    shared = shared_images([left.ids, right.ids])
    # Not `align`: data sets may number the same classes otherwise, so labels are compared by their names.
    of_base, of_candidate = (one.outcomes.take(rows) for one, rows in zip((left, right), shared.positions, strict=True))
    if not shared.ids:
        raise InvalidRequestError([Problem("candidate", "images that the baseline has scored too", "none")])
    names = [_class_names(one, outcomes) for one, outcomes in ((left, of_base), (right, of_candidate))]
    differing = np.flatnonzero(names[0] != names[1])
    if len(differing):
        rule = "of each shared image the true class that it has in the baseline's data set"
        value = f"another for {len(differing)} images, such as {shared.ids[int(differing[0])]}"
        raise InvalidRequestError([Problem("candidate", rule, value)])
    if classes is None:
        return of_base, of_candidate, len(shared.ids)
    unknown = sorted(set(classes) - set(left.index.classes))
    if unknown:
        raise InvalidRequestError([Problem("classes", "names of classes of the baseline's data set", unknown)])
    kept = np.isin(names[0], classes)
    if not kept.any():
        raise InvalidRequestError([Problem("classes", "classes with images that both sides scored", classes)])
    return of_base.take(kept), of_candidate.take(kept), len(shared.ids)


def _class_names(answers: Answers, outcomes: ImageOutcomes) -> NDArray[np.str_]:
    return np.array(answers.index.classes)[outcomes.labels]


def _judged(base: ImageOutcomes, candidate: ImageOutcomes, rule: GateRule) -> tuple[GateResult, tuple[float, float]]:
    if rule.metric == "nll":
        values = base.negative_log_likelihoods(), candidate.negative_log_likelihoods()
        return judge_values(*values, rule), (float(values[0].mean()), float(values[1].mean()))
    wrong = base.wrong(_K[rule.metric]), candidate.wrong(_K[rule.metric])
    return judge_errors(*wrong, rule), (float(wrong[0].mean()), float(wrong[1].mean()))
