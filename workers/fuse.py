"""Run a fuse item: check the stored posteriors, fuse and score them, end the evaluation with its scores."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from sqlalchemy import select

from app.db.models import EvaluationOutcomes
from app.errors import ArtifactDamagedError, ImportDamagedError, LeaseLostError, NothingToScoreError, StorageFullError
from app.fault_points import reach
from app.services import evaluations, predictions
from app.services.answering import outcomes
from app.services.answering.outcomes import NewOutcomes
from app.services.artifact_keys import outcomes_key
from app.services.leasing.leases import ItemLease
from ensembles.datasets import DatasetIndex
from ensembles.predictions import PosteriorPart, PosteriorParts
from workers.context import WorkerContext
from workers.fusion_plan import FusionPlan, PlannedView, read_plan
from workers.logs import get_logger
from workers.scoring import ScoredMember, ScoredView, score_members

log = get_logger(__name__)


def fuse_evaluation(context: WorkerContext, item: ItemLease) -> None:
    """Score an evaluation whose prediction sets are done; one whose stored posteriors are damaged predicts them again.

    Raises:
        NothingToScoreError: every image was excluded or unreadable.
        StoppedError: the worker was asked to stop, or the evaluation was cancelled.
        LeaseLostError: another worker has taken over, or the evaluation was cancelled.
        StorageFullError: no room for the outcomes; nothing is left behind.
        ImportDamagedError: stored predictions that were imported are damaged, which no worker can make anew.
    """
    runtime = context.runtime
    with runtime.db.read() as session:
        plan = read_plan(session, str(item.evaluation_id))
    damaged = _damaged_parts(context, plan)
    for view in plan.views():
        lost = next((part for part in view.parts if part.id in damaged), None)
        if view.view.mode == "imported" and lost is not None:
            reason = f"{damaged[lost.id]}; import the predictions again, under any name, and retry"
            raise ImportDamagedError(lost.artifact, reason)
    if damaged:
        log.warning("posteriors_damaged", parts=damaged)
        for part_id in damaged:
            # The first of these also hands the evaluation back to predicting, and so ends this item.
            context.patiently(partial(predictions.reopen, runtime.db, part_id))
        return
    index = context.images.get(plan.dataset_root, plan.index_key, plan.index_sha256).index
    kept, n_unreadable = _kept_images(plan, index)
    if not kept.any():
        raise NothingToScoreError(plan.images, int(n_unreadable))
    reach("fuse.before_scoring")
    scored = score_members(
        [
            ScoredMember(member.checkpoint, member.weight, tuple(_scored(context, view) for view in member.views))
            for member in plan.members
        ],
        index.labels[: plan.images],
        kept,
        n_unreadable,
        context.heartbeat.step,
        plan.fusion,
    )
    provenance = {
        **plan.provenance,
        "fused_with": _versions(),
        "n_excluded": plan.images - n_unreadable - int(kept.sum()),
    }
    stored: list[NewOutcomes] = []
    try:
        for subject in scored.outcomes:
            key = outcomes_key(item.id, item.token, subject.position)
            artifact = outcomes.store(runtime.artifacts, key, np.flatnonzero(kept), subject.outcomes)
            stored.append(NewOutcomes(subject.position, subject.member, artifact))
        context.patiently(lambda: evaluations.succeed(runtime.db, item, scored.scores, provenance, stored))
    except (LeaseLostError, StorageFullError):
        _delete_unreferenced(context, item, stored)
        raise


def _delete_unreferenced(context: WorkerContext, item: ItemLease, stored: Sequence[NewOutcomes]) -> None:
    """Remove outcomes that no row names: one does where only the answer of the database was lost on the way."""
    runtime = context.runtime
    with runtime.db.read() as session:
        of_evaluation = EvaluationOutcomes.evaluation_id == item.evaluation_id
        in_use = set(session.scalars(select(EvaluationOutcomes.artifact).where(of_evaluation)))
    for one in stored:
        if one.artifact.key not in in_use:
            runtime.artifacts.delete(one.artifact.key)


def _damaged_parts(context: WorkerContext, plan: FusionPlan) -> dict[str, str]:
    """Parts whose stored file is not what was recorded, with the reason; each file is read once."""
    reasons: dict[str, str] = {}
    for part in {part.id: part for view in plan.views() for part in view.parts}.values():
        try:
            context.runtime.artifacts.verified(part.artifact, part.sha256)
        except ArtifactDamagedError as error:
            reasons[part.id] = error.reason
        context.heartbeat.step()
    return reasons


def _kept_images(plan: FusionPlan, index: DatasetIndex) -> tuple[np.ndarray[Any, np.dtype[np.bool_]], int]:
    """Which of the first images are scored, the same for every row; and how many are not, being unreadable."""
    excluded = np.array([image_id in plan.excluded for image_id in index.ids[: plan.images]], dtype=np.bool_)
    unreadable = np.zeros(plan.images, dtype=np.bool_)
    unreadable[sorted(plan.unreadable)] = True
    return ~(excluded | unreadable), int((unreadable & ~excluded).sum())


def _scored(context: WorkerContext, view: PlannedView) -> ScoredView:
    path = context.runtime.artifacts.path
    return ScoredView(
        view.view, PosteriorParts([PosteriorPart(part.start, part.stop, path(part.artifact)) for part in view.parts])
    )


def _versions() -> dict[str, str]:
    return {
        "softvote": importlib.metadata.version("softvote"),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }
