"""Runs of schedules: look at the files that a target names, then judge what was computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from app.db.models import Checkpoint, Schedule, WorkItem
from app.representations.schedules import ScheduleTarget
from app.services import checkpoint_versions, datasets, planning
from app.services.leasing.leases import ItemLease
from app.services.scheduling import run_verdicts, schedule_runs, schedule_targets
from app.services.scheduling.schedule_runs import Judgement
from ensembles.checkpoints import file_sha256
from ensembles.errors import CheckpointMissingError
from ensembles.verification import Verification
from workers.context import WorkerContext
from workers.logs import get_logger
from workers.register import read_facts

log = get_logger(__name__)

#: Ids that a finding names; the rest is counted.
_NAMED = 100


def check_schedule_run(context: WorkerContext, item: ItemLease) -> None:
    """Hash the weights again and verify the images, then begin what the run computes.

    A file that was overwritten in place becomes a checkpoint of its own; changed images end the run, since nothing of
    it could be compared.

    Raises:
        CheckpointMissingError, InspectionError, CheckpointError: a weights file is gone, or is none any more.
        InvalidRequestError: the target cannot be evaluated any more.
        LeaseLostError: another worker has taken over.
    """
    db, run_id = context.runtime.db, str(item.payload["run"])
    with db.read() as session:
        found = schedule_runs.find(session, run_id)
        if found is None:
            plan = None
        else:
            schedule = found[1]
            target = ScheduleTarget.model_validate(schedule.target)
            plan = planning.plan(session, schedule_targets.to_request(session, target))
    if plan is None:
        schedule_runs.evaluate(db, item, run_id, {})
        return
    current = {member.checkpoint.id: _current_version(context, member.checkpoint) for member in plan.members}
    first = {"none": 0, "sample": schedule.sample_images, "full": plan.images}[schedule.verify]
    images = context.images.get(
        str(datasets.root_of(plan.dataset)), str(plan.dataset.index_key), str(plan.dataset.index_sha256)
    )
    verification = datasets.verify_first(plan.dataset, images.index, first, context.heartbeat.step)
    if not verification.unchanged:
        schedule_runs.conclude(db, item, run_id, _dataset_changed(schedule, plan.dataset.name, verification))
        return
    context.patiently(lambda: schedule_runs.evaluate(db, item, run_id, current))


def judge_schedule_run(context: WorkerContext, item: ItemLease) -> None:
    """Compare a run with the one before and with its reference, and end it; a sample that moved is widened to all.

    Raises:
        ArtifactDamagedError: stored posteriors are missing or different.
        LeaseLostError: another worker has taken over.
    """
    runtime, run_id = context.runtime, str(item.payload["run"])
    found = run_verdicts.judge(runtime.db, runtime.artifacts, run_id, context.heartbeat.step)
    if found is None:
        schedule_runs.conclude(runtime.db, item, run_id, Judgement("failed", ["The schedule was removed."]))
        return
    run, judgement = found
    if judgement.verdict in ("drift", "regression") and schedule_runs.is_sample_only(runtime.db, run):
        log.info("sample_moved", run=run_id)
        context.patiently(lambda: schedule_runs.evaluate_all(runtime.db, item, run))
        return
    context.patiently(lambda: schedule_runs.conclude(runtime.db, item, run_id, judgement))


def _current_version(context: WorkerContext, root: Checkpoint) -> str:
    """The name of the version that a checkpoint's file holds now; a file that was never seen is read and registered."""
    if root.path is None:
        return root.name
    path = Path(root.path)
    if not path.is_file():
        raise CheckpointMissingError(root.path)
    sha256 = file_sha256(path)
    context.heartbeat.step()
    with context.runtime.db.read() as session:
        known = {version.sha256: version.name for version in schedule_targets.versions_of(session, root.id)}
        items = select(WorkItem.payload).where(
            WorkItem.checkpoint_id == root.id, WorkItem.kind == "register_checkpoint"
        )
        stated: dict[str, Any] | None = session.scalars(items.order_by(WorkItem.id.desc()).limit(1)).one_or_none()
    if sha256 in known:
        return known[sha256]
    facts = read_facts(context, path, stated or {"path": root.path})
    log.warning("checkpoint_overwritten", checkpoint=root.name, sha256=facts.sha256)
    return context.patiently(lambda: checkpoint_versions.add(context.runtime.db, root, facts))


def _dataset_changed(schedule: Schedule, name: str, found: Verification) -> Judgement:
    kinds = {
        "changed": [one.id for one in found.changed],
        "missing": [one.id for one in found.missing],
        "new": [one.id for one in found.new],
        "relabelled": [one.id for one in found.relabelled],
    }
    counts = {kind: len(ids) for kind, ids in kinds.items()}
    words = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    finding = (
        f"Data set {name} is not what was registered: {words}. Nothing was evaluated, since nothing could be compared."
        f" Register it anew, and let schedule {schedule.name} name that."
    )
    listed = {kind: ids[:_NAMED] for kind, ids in kinds.items()}
    return Judgement("dataset_changed", [finding], {"dataset": {"name": name, "counts": counts, "images": listed}})
