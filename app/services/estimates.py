"""What an evaluation would cost, from the rows that are there: nothing is written, nothing is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import PredictionSet, Worker
from app.db.queries import workers
from app.representations.estimates import (
    EstimatedDeviceDocument,
    EstimatedMemberDocument,
    EstimateDocument,
    EstimatedViewDocument,
)
from app.representations.requests import EvaluationRequest
from app.services import planning, prediction_sets
from app.services.answering.outcomes import FILE_DTYPE
from app.services.planning import Plan, PlannedMember, PlannedView
from app.services.prediction_sets import Key
from ensembles.protocol_titles import protocol_title

_GIGA = 1e9
_FLOAT32_BYTES = 4


def estimate(session: Session, request: EvaluationRequest) -> EstimateDocument:
    """What `evaluations.submit` would start now.

    Raises:
        InvalidRequestError: everything that is wrong with the request, at once.
    """
    plan = planning.plan(session, request)
    pairs = [(member, view) for member in plan.members for view in member.views]
    found = {} if request.force else prediction_sets.find(session, plan)
    stops = {
        found[key].id: view.stop for member, view in pairs if (key := prediction_sets.key_of(member, view)) in found
    }
    done = prediction_sets.images_done(session, stops)
    views = [_view(member, view, found, done) for member, view in pairs]
    # Two names of the same weights share a set, which is predicted once.
    once = {prediction_sets.key_of(*pair): (*pair, row) for pair, row in zip(pairs, views, strict=True)}.values()
    macs = sum((view.stop - row.done) * view.macs_per_image for _, view, row in once)
    posteriors = sum((row.total - row.done) * (member.checkpoint.classes or 0) for member, _, row in once)
    devices = _devices(session, macs)
    rates = sum(device.gmacs_per_second or 0.0 for device in devices)
    return EstimateDocument(
        dataset=plan.dataset.name,
        images=plan.images,
        checkpoints=[_member(member) for member in plan.members],
        views=views,
        image_views=sum(row.total for _, _, row in once),
        image_views_done=sum(row.done for _, _, row in once),
        gmacs=macs / _GIGA,
        gmacs_total=sum(view.stop * view.macs_per_image for _, view, _ in once) / _GIGA,
        disk_bytes=posteriors * _FLOAT32_BYTES + _outcome_bytes(plan),
        devices=devices,
        seconds=macs / _GIGA / rates if rates else None,
    )


def _member(member: PlannedMember) -> EstimatedMemberDocument:
    return EstimatedMemberDocument(
        checkpoint=member.checkpoint.name,
        protocol_title=member.protocol.name or protocol_title(member.protocol.to_dict()),
        modes=list(member.protocol.modes),
        scales=sorted({planned.view.scale for planned in member.views} - {0}),
        weight=member.weight,
    )


def _view(
    member: PlannedMember, view: PlannedView, found: Mapping[Key, PredictionSet], done: Mapping[str, int]
) -> EstimatedViewDocument:
    row = found.get(prediction_sets.key_of(member, view))
    known = 0 if row is None else done[row.id]
    return EstimatedViewDocument(
        checkpoint=member.checkpoint.name,
        mode=view.view.mode,
        scale=view.view.scale or None,
        view_digest=view.view.digest,
        set_id=None if row is None else row.id,
        done=known,
        total=view.stop,
        gmacs=(view.stop - known) * view.macs_per_image / _GIGA,
    )


def _outcome_bytes(plan: Plan) -> int:
    """How each image was answered is kept for every member, and for the ensemble of several."""
    subjects = len(plan.members) + (len(plan.members) > 1)
    return subjects * plan.images * FILE_DTYPE.itemsize


def _devices(session: Session, macs: float) -> list[EstimatedDeviceDocument]:
    predictors = [worker for worker in workers.alive(session) if "predict" in worker.queues]
    earlier = _earlier_rates(session, predictors)
    rates = [_measured(row) or earlier.get((row.host, row.device)) for row in predictors]
    return [
        EstimatedDeviceDocument(
            worker=row.name,
            host=row.host,
            device=row.device,
            device_name=row.versions.get("device_name"),
            gmacs_per_second=None if rate is None else rate / _GIGA,
            seconds=None if rate is None else macs / rate,
        )
        for row, rate in zip(predictors, rates, strict=True)
    ]


def _measured(worker: Worker) -> float | None:
    """MACs a second; before the first slice a worker reports a guess, and no images a second."""
    return worker.macs_per_second if worker.images_per_second else None


def _earlier_rates(session: Session, predictors: Sequence[Worker]) -> dict[tuple[str, str], float]:
    """What was measured last on the (host, device) of each worker that has measured nothing itself."""
    new = {(row.host, row.device) for row in predictors if _measured(row) is None}
    if not new:
        return {}
    rows = (
        select(Worker.host, Worker.device, Worker.macs_per_second)
        .where(Worker.host.in_({host for host, _ in new}), Worker.images_per_second > 0)
        .order_by(Worker.last_seen)
    )
    return {(host, device): rate for host, device, rate in session.execute(rows) if rate and (host, device) in new}
