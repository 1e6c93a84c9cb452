"""What questions are asked about: the ensemble of an evaluation or one of its members, and how it answered each image.

Read from the stored outcomes, without posteriors or a worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.artifacts import ArtifactStore
from app.db.models import Dataset, Evaluation, EvaluationMember, EvaluationOutcomes, EvaluationStatus
from app.errors import NotFoundError, OutcomesMissingError, StateConflictError
from app.services import datasets, outcomes
from ensembles.datasets import DatasetIndex
from ensembles.outcomes import ImageOutcomes


@dataclass(frozen=True, eq=False)
class Subject:
    """The ensemble of an evaluation, or one member of it.

    Attributes:
        reference: how the request names it: `ID`, or `ID:NAME`.
        evaluation: whose.
        name: the checkpoint's, or "ensemble".
        members: whose protocols it rests on.
        stored: its outcomes.
    """

    reference: str
    evaluation: Evaluation
    name: str
    members: tuple[EvaluationMember, ...]
    stored: EvaluationOutcomes

    @property
    def dataset(self) -> Dataset:
        """What it answered."""
        return self.evaluation.dataset

    @property
    def kind(self) -> Literal["ensemble", "checkpoint"]:
        """An evaluation of one checkpoint has no ensemble."""
        return "ensemble" if self.stored.member_position is None else "checkpoint"

    @property
    def key(self) -> tuple[str, int]:
        """What it is, however it was named."""
        return self.evaluation.id, self.stored.position


@dataclass(frozen=True, eq=False)
class Answers:
    """How a subject answered the n images that were scored, in canonical order.

    Attributes:
        index: the data set's.
        images: (n,) positions in the index.
        ids: of the images; one tuple for all subjects that scored the same ones.
        outcomes: of the same images; classes are numbered as in the data set.
    """

    index: DatasetIndex
    images: NDArray[np.int32]
    ids: tuple[str, ...]
    outcomes: ImageOutcomes


def find(session: Session, reference: str) -> Subject:
    """The subject that `ID` (the ensemble, or the only member) or `ID:NAME` (one member) names.

    Raises:
        NotFoundError: no such evaluation or member.
        StateConflictError: the evaluation has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
    """
    evaluation_id, named, name = reference.partition(":")
    evaluation = _evaluation(session, evaluation_id)
    members = tuple(evaluation.members)
    if named:
        members = tuple(member for member in members if name in (member.checkpoint.name, member.checkpoint.id))
        if not members:
            raise NotFoundError("member", name, (member.checkpoint.name for member in evaluation.members))
    only = members[0] if len(members) == 1 else None
    stored = _stored(session, evaluation_id, None if only is None else only.position)
    return Subject(reference, evaluation, "ensemble" if only is None else only.checkpoint.name, members, stored)


def find_members(session: Session, evaluation_id: str) -> list[Subject]:
    """Every member of an evaluation, in order.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
    """
    evaluation = _evaluation(session, evaluation_id)
    return [
        Subject(
            f"{evaluation_id}:{member.checkpoint.name}",
            evaluation,
            member.checkpoint.name,
            (member,),
            _stored(session, evaluation_id, member.position),
        )
        for member in evaluation.members
    ]


def read_answers(artifacts: ArtifactStore, subjects: Sequence[Subject]) -> list[Answers]:
    """The answers of each subject; every index is read once.

    Raises:
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    indexes: dict[str | None, DatasetIndex] = {}
    taken: dict[tuple[str | None, bytes], tuple[str, ...]] = {}
    answers = []
    for subject in subjects:
        images, found = outcomes.load(artifacts, subject.stored)
        digest = subject.dataset.index_sha256
        if digest not in indexes:
            indexes[digest] = datasets.load_index(artifacts, subject.dataset)
        index = indexes[digest]
        # Subjects that scored the same images share one tuple, and joining them costs nothing.
        key = (digest, images.tobytes())
        if key not in taken:
            ids = index.ids
            taken[key] = tuple(ids[image] for image in images.tolist())
        answers.append(Answers(index, images, taken[key], found))
    return answers


def _evaluation(session: Session, evaluation_id: str) -> Evaluation:
    rows = select(Evaluation).where(Evaluation.id == evaluation_id)
    whole = (joinedload(Evaluation.dataset), selectinload(Evaluation.members).joinedload(EvaluationMember.checkpoint))
    evaluation = session.scalars(rows.options(*whole)).one_or_none()
    if evaluation is None:
        raise NotFoundError("evaluation", evaluation_id)
    if evaluation.status != EvaluationStatus.SUCCEEDED:
        raise StateConflictError("evaluation", evaluation_id, evaluation.status, "compared")
    return evaluation


def _stored(session: Session, evaluation_id: str, position: int | None) -> EvaluationOutcomes:
    of_member = EvaluationOutcomes.member_position
    stored = session.scalars(
        select(EvaluationOutcomes).where(
            EvaluationOutcomes.evaluation_id == evaluation_id,
            of_member.is_(None) if position is None else of_member == position,
        )
    ).one_or_none()
    if stored is None:
        raise OutcomesMissingError(evaluation_id)
    return stored
