"""What a worker is told about the slice that it took: files, views and classes, read for the taken parts alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Row, bindparam, select
from sqlalchemy.orm import Session, defer

from app.db.models import Checkpoint, Dataset, PredictionSet
from app.services import datasets
from app.services.leasing import leases
from app.services.leasing.slices import LeasedPart, LeasedSlice
from ensembles.class_orders import map_classes

_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
#: Columns, not rows of the ORM, and built once: this runs while the lease holds its locks.
_SETS = (
    select(
        PredictionSet.id.label("set_id"),
        PredictionSet.view,
        PredictionSet.dataset_id,
        PredictionSet.checkpoint_id,
        Checkpoint.name,
        Checkpoint.path,
        Checkpoint.sha256,
        Checkpoint.architecture,
        Checkpoint.preprocessing,
        Checkpoint.class_names,
    )
    .join(Checkpoint, Checkpoint.id == PredictionSet.checkpoint_id)
    .where(PredictionSet.id.in_(_IDS))
)
_DATASET = select(Dataset).where(Dataset.id == bindparam("dataset_id")).options(defer(Dataset.sample_sizes))


@dataclass(frozen=True)
class TakenPart:
    """A part in the hands of the worker that asked, under `token`.

    `batch` is the most that a pass may try, or None; `lost_leases` counts the workers that vanished over it before.
    """

    id: str
    set_id: str
    start: int
    stop: int
    token: int
    batch: int | None
    lost_leases: int = 0


def describe_slice(session: Session, parts: Sequence[TakenPart]) -> LeasedSlice:
    """The slice of one or more parts of the same images of the same data set."""
    rows = session.execute(_SETS, {"ids": [part.set_id for part in parts]})
    loaded = {row.set_id: row for row in rows}
    dataset = session.scalars(_DATASET, {"dataset_id": loaded[parts[0].set_id].dataset_id}).one()
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


def _leased_part(part: TakenPart, row: Row[Any], dataset: Dataset) -> LeasedPart:
    mapping = map_classes(row.class_names, dataset.classes or [])
    return LeasedPart(
        id=part.id,
        token=part.token,
        set_id=row.set_id,
        view=row.view,
        checkpoint_id=row.checkpoint_id,
        checkpoint_name=row.name,
        checkpoint_path=str(row.path),
        checkpoint_sha256=str(row.sha256),
        architecture=row.architecture or {},
        preprocessing=row.preprocessing or {},
        batch_limit=part.batch,
        killed=part.lost_leases if part.lost_leases >= leases.MAX_LOST_LEASES else 0,
        class_outputs=None if mapping is None else mapping.outputs,
    )
