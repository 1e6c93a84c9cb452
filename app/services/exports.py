"""Posteriors of a finished evaluation, written out for other tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.models import Evaluation, EvaluationMember, EvaluationStatus
from app.db.session import Database
from app.errors import InvalidRequestError, NotFoundError, StateConflictError
from app.services import datasets, predictions
from ensembles.datasets import DatasetIndex
from ensembles.errors import Problem
from ensembles.fusion import combine_views, fuse, temper
from ensembles.prediction_files import view_key
from ensembles.prediction_writers import ArchivedArray, check_format, write_archive, write_table
from ensembles.predictions import PosteriorPart, PosteriorParts
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec

_ROWS = 4096


@dataclass(frozen=True)
class Exported:
    """What was written: the first `images` of the data set, and the names of the arrays, or of the table's subject."""

    path: str
    images: int
    arrays: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _View:
    """A view of a member, its posteriors mapped."""

    spec: ViewSpec
    parts: PosteriorParts


@dataclass(frozen=True, eq=False)
class _Member:
    name: str
    weight: float
    views: tuple[_View, ...]


def export(
    db: Database, artifacts: ArtifactStore, evaluation_id: str, path: Path, member: str | None = None
) -> Exported:
    """Write a finished evaluation's posteriors in the format that the file's name ends with.

    An .npz gets every view of every member, or of one; a table (.npy, .csv, .parquet) gets the ensemble, or one member
    over all its views. Images that could not be read have NaN throughout.

    Args:
        db: the database.
        artifacts: the store.
        evaluation_id: which evaluation.
        path: the file; one that is there is replaced.
        member: the name of one member.

    Raises:
        NotFoundError: no such evaluation, or no such member of it.
        StateConflictError: it has not succeeded.
        PredictionsFileError: no such format, or one that cannot hold these ids.
        ArtifactDamagedError: stored posteriors are missing or different.
        InvalidRequestError: the file cannot be written.
    """
    suffix = check_format(path)
    with db.read() as session:
        evaluation = session.get(Evaluation, evaluation_id)
        if evaluation is None:
            raise NotFoundError("evaluation", evaluation_id)
        if evaluation.status != EvaluationStatus.SUCCEEDED:
            raise StateConflictError("evaluation", evaluation_id, evaluation.status, "exported")
        index = datasets.load_index(artifacts, evaluation.dataset)
        images, fusion = evaluation.images, FusionSpec.from_dict(evaluation.fusion)
        members = [_member(session, artifacts, one) for one in _chosen(evaluation, member)]
    try:
        if suffix == ".npz":
            arrays = [_archived(one.name, view, images) for one in members for view in one.views]
            write_archive(path, index.ids[:images], index.labels[:images], index.classes, arrays)
            return Exported(str(path), images, tuple(array.name for array in arrays))
        write_table(path, index.ids[:images], index.classes, _table(members, fusion, index, images))
    except OSError as error:
        rule = f"a file that can be written ({error.strerror})"
        raise InvalidRequestError([Problem("output", rule, str(path))]) from error
    return Exported(str(path), images, (member or ("ensemble" if len(members) > 1 else members[0].name),))


def _chosen(evaluation: Evaluation, member: str | None) -> Sequence[EvaluationMember]:
    if member is None:
        return evaluation.members
    found = [one for one in evaluation.members if member in (one.checkpoint.name, one.checkpoint.id)]
    if not found:
        raise NotFoundError("member", member, (one.checkpoint.name for one in evaluation.members))
    return found[:1]


def _member(session: Session, artifacts: ArtifactStore, row: EvaluationMember) -> _Member:
    views = []
    for link in row.sets:
        files = predictions.part_files(session, link.set_id, link.stop)
        # Numbers that leave the house are looked at once more.
        parts = [PosteriorPart(one.start, one.stop, artifacts.verified(one.artifact, one.sha256)) for one in files]
        views.append(_View(ViewSpec.from_dict(link.prediction_set.view), PosteriorParts(parts)))
    return _Member(row.checkpoint.name, row.weight, tuple(views))


def _archived(name: str, view: _View, images: int) -> ArchivedArray:
    blocks: Iterator[NDArray[np.float32]] = (block for _, block in view.parts.blocks(_ROWS, images))
    key = view_key(name, view.spec.mode, view.spec.scale or None)
    return ArchivedArray(key, (images, view.parts.classes), blocks)


def _table(members: Sequence[_Member], fusion: FusionSpec, index: DatasetIndex, images: int) -> NDArray[np.float32]:
    """(N, K), fused as the scores were."""
    table = np.full((images, len(index.classes)), np.nan, dtype=np.float32)
    streams = [[view.parts.blocks(_ROWS, images) for view in member.views] for member in members]
    for start in range(0, images, _ROWS):
        blocks = [[next(stream)[1] for stream in of_member] for of_member in streams]
        readable = ~np.any([np.isnan(block[:, 0]) for of_member in blocks for block in of_member], axis=0)
        if not readable.any():
            continue
        each = [
            combine_views([view.spec for view in member.views], [block[readable] for block in of_member])
            for member, of_member in zip(members, blocks, strict=True)
        ]
        if len(each) == 1:
            probs = each[0]
        else:
            probs = fuse(fusion, each, [member.weight for member in members])
            probs = probs if fusion.temperature is None else temper(probs, fusion.temperature)
        table[start : start + _ROWS][readable] = probs
    return table
