"""What a fuse item has to fuse, read in one snapshot: members, views, part files, images left out, provenance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.db.models import Evaluation, EvaluationMember, PredictionPart, PredictionSet
from app.errors import NotFoundError
from app.services import datasets, predictions
from app.services.predictions import PartFile
from ensembles.class_orders import map_classes
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec


@dataclass(frozen=True)
class PlannedView:
    """A prediction set as one evaluation uses it; `parts` cover its images from the first one on, without gap."""

    set_id: str
    view: ViewSpec
    parts: tuple[PartFile, ...]


@dataclass(frozen=True)
class PlannedMember:
    """A checkpoint, its weight and its views in the order of the protocol."""

    checkpoint: str
    weight: float
    views: tuple[PlannedView, ...]


@dataclass(frozen=True)
class FusionPlan:
    """Everything that the scores of one evaluation follow from.

    Attributes:
        images: the first so many of the canonical order are scored.
        excluded: ids that some member's protocol leaves out; left out of every score, so that all have one n.
        unreadable: positions of images that some view could not read; likewise.
    """

    evaluation_id: str
    dataset_root: str
    index_key: str
    index_sha256: str
    images: int
    excluded: frozenset[str]
    unreadable: frozenset[int]
    members: tuple[PlannedMember, ...]
    fusion: FusionSpec
    provenance: dict[str, Any]

    def views(self) -> Iterator[PlannedView]:
        """Of all members."""
        for member in self.members:
            yield from member.views


def read_plan(session: Session, evaluation_id: str) -> FusionPlan:
    """The plan of an evaluation whose sets are done.

    Raises:
        NotFoundError: no such evaluation.
    """
    evaluation = session.get(Evaluation, evaluation_id)
    if evaluation is None:
        raise NotFoundError("evaluation", evaluation_id)
    members = tuple(_member(session, member) for member in evaluation.members)
    views = [view for member in members for view in member.views]
    return FusionPlan(
        evaluation_id=evaluation_id,
        dataset_root=str(datasets.root_of(evaluation.dataset)),
        index_key=str(evaluation.dataset.index_key),
        index_sha256=str(evaluation.dataset.index_sha256),
        images=evaluation.images,
        excluded=frozenset(image for member in evaluation.members for image in member.protocol.get("exclude") or ()),
        unreadable=frozenset(
            image["index"]
            for view in views
            for part in view.parts
            for image in part.unreadable
            if image["index"] < evaluation.images
        ),
        members=members,
        fusion=FusionSpec.from_dict(evaluation.fusion),
        provenance=_provenance(session, evaluation, views),
    )


def _member(session: Session, member: EvaluationMember) -> PlannedMember:
    return PlannedMember(
        checkpoint=member.checkpoint.name,
        weight=member.weight,
        views=tuple(
            PlannedView(
                link.set_id,
                ViewSpec.from_dict(link.prediction_set.view),
                tuple(predictions.part_files(session, link.set_id, link.stop)),
            )
            for link in member.sets
        ),
    )


def _provenance(session: Session, evaluation: Evaluation, views: list[PlannedView]) -> dict[str, Any]:
    """Where the numbers come from, in enough detail to make them again."""
    part_ids = [part.id for view in views for part in view.parts]
    made_with: list[dict[str, Any]] = []
    batches: dict[str, list[int]] = {}
    # In portions: a large evaluation has more parts than a statement may have parameters.
    for start in range(0, len(part_ids), 500):
        parts = select(PredictionPart.set_id, PredictionPart.batch, PredictionPart.environment)
        for set_id, batch, environment in session.execute(
            parts.where(PredictionPart.id.in_(part_ids[start : start + 500])).order_by(PredictionPart.id)
        ):
            if environment and environment not in made_with:
                made_with.append(environment)
            if batch is not None and batch not in batches.setdefault(set_id, []):
                batches[set_id].append(batch)
    dataset = evaluation.dataset
    return {
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "images": evaluation.images},
        "fusion": evaluation.fusion,
        **({} if evaluation.ensemble is None else {"ensemble": evaluation.ensemble}),
        "made_with": made_with,
        "members": [
            {
                "checkpoint": member.checkpoint.name,
                "sha256": member.checkpoint.sha256,
                "fingerprint": member.checkpoint.fingerprint,
                "class_mapping": _class_mapping(member),
                "weight": member.weight,
                "views": [_view_provenance(link.prediction_set, batches.get(link.set_id, [])) for link in member.sets],
            }
            for member in evaluation.members
        ],
    }


def _class_mapping(member: EvaluationMember) -> dict[str, Any] | None:
    mapping = map_classes(member.checkpoint.class_names, member.evaluation.dataset.classes or [])
    return None if mapping is None else mapping.to_dict()


def _view_provenance(prediction_set: PredictionSet, batches: list[int]) -> dict[str, Any]:
    return {
        "set": prediction_set.id,
        "digest": prediction_set.view_digest,
        "mode": prediction_set.view["mode"],
        "scale": prediction_set.view["scale"],
        "engine": prediction_set.engine_version,
        "generation": prediction_set.generation,
        "batch": sorted(batches),
    }
