"""What a worker is told about the slice that it took: files, views and classes, read for the taken parts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session, defer, selectinload

from app.db.models import Dataset, PredictionSet
from app.services import datasets
from app.services.slices import LeasedPart, LeasedSlice
from ensembles.class_orders import map_classes


@dataclass(frozen=True)
class TakenPart:
    """A part in the hands of the worker that asked, under `token`; `batch` is the most that a pass may try, or None."""

    id: str
    set_id: str
    start: int
    stop: int
    token: int
    batch: int | None


def describe_slice(session: Session, parts: Sequence[TakenPart]) -> LeasedSlice:
    """The slice of one or more parts of the same images of the same data set."""
    rows = select(PredictionSet).where(PredictionSet.id.in_([part.set_id for part in parts]))
    loaded = {row.id: row for row in session.scalars(rows.options(selectinload(PredictionSet.checkpoint)))}
    dataset = session.get_one(Dataset, loaded[parts[0].set_id].dataset_id, options=[defer(Dataset.sample_sizes)])
    return LeasedSlice(
        start=parts[0].start,
        stop=parts[0].stop,
        dataset_id=dataset.id,
        dataset_root=str(datasets.root_of(dataset)),
        dataset_name=dataset.name,
        index_key=str(dataset.index_key),
        index_sha256=str(dataset.index_sha256),
        parts=tuple(_leased_part(part, loaded[part.set_id], dataset) for part in parts),
    )


def _leased_part(part: TakenPart, row: PredictionSet, dataset: Dataset) -> LeasedPart:
    checkpoint = row.checkpoint
    mapping = map_classes(checkpoint.class_names, dataset.classes or [])
    return LeasedPart(
        id=part.id,
        token=part.token,
        set_id=row.id,
        view=row.view,
        checkpoint_id=checkpoint.id,
        checkpoint_name=checkpoint.name,
        checkpoint_path=str(checkpoint.path),
        checkpoint_sha256=str(checkpoint.sha256),
        architecture=checkpoint.architecture or {},
        preprocessing=checkpoint.preprocessing or {},
        batch_limit=part.batch,
        class_outputs=None if mapping is None else mapping.outputs,
    )
