"""Runs of schedules on their way: files checked, evaluated, judged, over. A run moves only from the state it was in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.db.base import new_id
from app.db.clock import now
from app.db.models import (
    Evaluation,
    EvaluationStatus,
    LeaseState,
    RunState,
    Schedule,
    ScheduleRun,
    WorkItem,
)
from app.db.queries import schedules as queries
from app.db.session import Database
from app.db.statements import changed
from app.representations.requests import EvaluationRequest
from app.representations.schedules import ScheduleTarget
from app.representations.webhooks import WebhookEvent
from app.services import evaluations, events, planning
from app.services.leasing import leases
from app.services.leasing.leases import ItemLease
from app.services.notifications import webhooks
from app.services.planning import Plan
from app.services.scheduling import schedule_targets
from ensembles.canonical import digest

#: Ends of an evaluation that are no success.
_BROKEN = (EvaluationStatus.FAILED, EvaluationStatus.CANCELLED)


@dataclass(frozen=True)
class Judgement:
    """How a run ends: a verdict of `RunVerdict`, sentences for people, and what they rest on."""

    verdict: str
    findings: Sequence[str]
    detail: Mapping[str, Any] = field(default_factory=dict)
    moved_images: Sequence[Sequence[Any]] = ()
    environment: Sequence[Mapping[str, Any]] = ()


def find(session: Session, run_id: str) -> tuple[ScheduleRun, Schedule] | None:
    """A run with its schedule; None where they were removed."""
    run = session.get(ScheduleRun, run_id)
    schedule = None if run is None else session.get(Schedule, run.schedule_id)
    return None if run is None or schedule is None else (run, schedule)


def evaluate(db: Database, lease: ItemLease, run_id: str, current: Mapping[str, str]) -> None:
    """Begin what a run computes, its files having been checked.

    Where checkpoints, data set and request are those of the run before, its number stands: posteriors are computed
    again only to see whether they move.

    Args:
        db: the database.
        lease: of the item that checked the files.
        run_id: whose.
        current: checkpoint id -> name of the version that its file holds now.

    Raises:
        InvalidRequestError: the target cannot be evaluated any more.
        LeaseLostError: another worker has taken over.
    """
    with db.read() as session:
        found = find(session, run_id)
        if found is None:
            request = None
        else:
            run, schedule = found
            target = ScheduleTarget.model_validate(schedule.target)
            asked = schedule_targets.to_request(session, target)
            request = schedule_targets.with_versions(session, asked, current)
            fingerprints = _fingerprints(planning.plan(session, request))
            before = previous(session, run)
    if request is None:
        with leases.finishing(db, lease):
            return
    columns: dict[str, Any] = {"request": request.model_dump(mode="json"), "fingerprints": fingerprints}
    columns |= {"reference_run_id": schedule.reference_run_id, "previous_run_id": before.id if before else None}
    if before is None or before.fingerprints != fingerprints:
        columns["evaluation_id"] = _submit(db, run_id, request)
    elif schedule.verify == "full":
        columns["evaluation_id"] = _submit(db, run_id, request.model_copy(update={"force": True}))
    else:
        columns["evaluation_id"] = before.evaluation_id
        if schedule.verify == "sample":
            limit = min(schedule.sample_images, request.limit or schedule.sample_images)
            sample = request.model_copy(update={"force": True, "limit": limit})
            columns["verification_id"] = _submit(db, run_id, sample)
    with leases.finishing(db, lease) as session:
        _move(session, run_id, RunState.CHECKING, RunState.EVALUATING, item_id=None, **columns)


def evaluate_all(db: Database, lease: ItemLease, run: ScheduleRun) -> None:
    """The sample moved: compute every image again, so that the number belongs to the environment of today.

    Raises:
        LeaseLostError: another worker has taken over.
    """
    request = EvaluationRequest.model_validate(run.request).model_copy(update={"force": True})
    evaluation_id = _submit(db, run.id, request)
    with leases.finishing(db, lease) as session:
        columns = {"evaluation_id": evaluation_id, "item_id": None}
        _move(session, run.id, RunState.JUDGING, RunState.EVALUATING, **columns)


def advance(db: Database) -> int:
    """Move on every run whose evaluation has ended, and fail those whose work failed; how many moved.

    Calling it too often does no harm; of several callers one moves a run.
    """
    with db.read() as session:
        steps = [*_evaluated(session), *_stuck(session)]
    moved = 0
    for run_id, state, error in steps:
        with db.write() as session:
            if error is not None:
                moved += _fail(session, run_id, state, *error)
                continue
            item_id = new_id()
            if _move(session, run_id, state, RunState.JUDGING, item_id=item_id):
                payload = {"run": run_id}
                session.add(WorkItem(id=item_id, kind="judge_schedule_run", queue="fuse", payload=payload))
                moved += 1
    return moved


def conclude(db: Database, lease: ItemLease, run_id: str, judgement: Judgement) -> None:
    """End a run with its verdict, and tell whoever wants to know.

    Raises:
        LeaseLostError: another worker has taken over.
    """
    written = asdict(replace(judgement, detail=dict(judgement.detail)))
    written |= {name: list(written[name]) for name in ("findings", "moved_images", "environment")}
    with leases.finishing(db, lease) as session:
        found = find(session, run_id)
        if found is None:
            return
        run, schedule = found
        columns = {**written, "item_id": None, "finished_at": now(session)}
        if not _move(session, run_id, RunState(run.state), RunState.DONE, **columns):
            return
        if judgement.verdict == "first":
            changed(session, update(Schedule).where(Schedule.id == schedule.id).values(reference_run_id=run_id))
        _tell(session, run_id, schedule, judgement.verdict)


def previous(session: Session, run: ScheduleRun) -> ScheduleRun | None:
    """The newest run of the same schedule before this one that has a number."""
    rows = select(ScheduleRun).where(
        ScheduleRun.schedule_id == run.schedule_id,
        ScheduleRun.state == RunState.DONE,
        ScheduleRun.evaluation_id.is_not(None),
        ScheduleRun.id < run.id,
    )
    return session.scalars(rows.order_by(ScheduleRun.id.desc()).limit(1)).one_or_none()


def is_sample_only(db: Database, run: ScheduleRun) -> bool:
    """Whether a run has computed only a sample again, of more images than that."""
    if run.verification_id is None or run.evaluation_id is None:
        return False
    with db.read() as session:
        before = session.get(ScheduleRun, run.previous_run_id or "")
        if before is None or before.evaluation_id != run.evaluation_id:
            return False
        sizes = select(Evaluation.id, Evaluation.images)
        images = dict(session.execute(sizes.where(Evaluation.id.in_([run.verification_id, run.evaluation_id]))).all())
    return images[run.verification_id] < images[run.evaluation_id]


def _submit(db: Database, run_id: str, request: EvaluationRequest) -> str:
    # The request is part of the key: a worker that takes over may find other files than the one before.
    key = f"schedule-run:{run_id}:{digest(request.model_dump(mode='json'))[:16]}"
    return evaluations.submit(db, request, idempotency_key=key).id


def _fingerprints(plan: Plan) -> dict[str, Any]:
    """What the number of a run follows from; equal ones must give the same number."""
    members = [
        {"protocol": member.protocol.to_dict(), "weight": member.weight, "views": [v.view.digest for v in member.views]}
        for member in plan.members
    ]
    return {
        "dataset": {"name": plan.dataset.name, "fingerprint": plan.dataset.fingerprint, "images": plan.images},
        "checkpoints": [
            {
                "name": member.checkpoint.name,
                "fingerprint": member.checkpoint.fingerprint,
                "sha256": member.checkpoint.sha256,
            }
            for member in plan.members
        ],
        "protocol": digest({"members": members, "fusion": plan.fusion.to_dict()}),
    }


def _evaluated(session: Session) -> list[tuple[str, RunState, tuple[str, str] | None]]:
    rows = select(ScheduleRun.id, ScheduleRun.evaluation_id, ScheduleRun.verification_id)
    waiting = session.execute(rows.where(ScheduleRun.state == RunState.EVALUATING)).all()
    ids = {one for _, *wanted in waiting for one in wanted if one is not None}
    columns = (Evaluation.id, Evaluation.status, Evaluation.error_code, Evaluation.error_message)
    ended = {row.id: row for row in session.execute(select(*columns).where(Evaluation.id.in_(ids)))} if ids else {}
    steps: list[tuple[str, RunState, tuple[str, str] | None]] = []
    for run_id, *wanted in waiting:
        found = [ended[one] for one in wanted if one is not None and one in ended]
        broken = next((row for row in found if row.status in _BROKEN), None)
        if broken is not None:
            code = broken.error_code or "evaluation_cancelled"
            message = broken.error_message or f"evaluation {broken.id} was cancelled"
            steps.append((run_id, RunState.EVALUATING, (code, message)))
        elif all(row.status == EvaluationStatus.SUCCEEDED for row in found):
            steps.append((run_id, RunState.EVALUATING, None))
    return steps


def _stuck(session: Session) -> list[tuple[str, RunState, tuple[str, str] | None]]:
    """Runs whose work item failed for good."""
    columns = (ScheduleRun.id, ScheduleRun.state, WorkItem.error_code, WorkItem.error_message)
    rows = (
        select(*columns)
        .join(WorkItem, WorkItem.id == ScheduleRun.item_id)
        .where(
            ScheduleRun.state.in_([RunState.CHECKING, RunState.JUDGING]),
            WorkItem.state == LeaseState.FAILED,
        )
    )
    return [
        (run_id, RunState(state), (code or "internal_error", message or "its work failed"))
        for run_id, state, code, message in session.execute(rows)
    ]


def _fail(session: Session, run_id: str, state: RunState, code: str, message: str) -> bool:
    ended = {"verdict": "failed", "error_code": code, "error_message": message, "finished_at": now(session)}
    if not _move(session, run_id, state, RunState.FAILED, findings=[message], **ended):
        return False
    found = find(session, run_id)
    if found is not None:
        _tell(session, run_id, found[1], "failed")
    return True


def _move(session: Session, run_id: str, state: RunState, following: RunState, **columns: Any) -> bool:
    there = (ScheduleRun.id == run_id, ScheduleRun.state == state)
    return changed(session, update(ScheduleRun).where(*there).values(state=following, **columns)) == 1


def _tell(session: Session, run_id: str, schedule: Schedule, verdict: str) -> None:
    run = session.get(ScheduleRun, run_id, populate_existing=True)
    events.record(session, f"schedule_run_{verdict}", subject_id=run_id, schedule=schedule.name)
    event = f"schedule.{verdict}"
    if run is not None and verdict in schedule.notify and event in set(WebhookEvent):
        webhooks.enqueue(session, event, queries.run_document(run, schedule.name))
