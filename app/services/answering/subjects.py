"""What questions are asked about: the ensemble of an evaluation or one of its members, and how it answered each image.

Read from the stored outcomes, without posteriors or a worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, defer, joinedload, selectinload

from app.artifacts import ArtifactStore
from app.db.models import Dataset, Evaluation, EvaluationMember, EvaluationOutcomes, EvaluationStatus
from app.errors import NotFoundError, OutcomesMissingError, StateConflictError
from app.services import datasets
from app.services.answering import outcomes
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
    return find_all(session, [reference])[0]


def find_all(session: Session, references: Sequence[str]) -> list[Subject]:
    """The subjects of several references in their order; as many queries for hundreds as for one.

    Raises:
        NotFoundError: no such evaluation or member.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: an evaluation was fused by a release that kept no outcomes.
    """
    ids = {reference.partition(":")[0] for reference in references}
    # Joined, the same data set and checkpoint would be read and decoded once an evaluation.
    whole = (
        selectinload(Evaluation.dataset),
        selectinload(Evaluation.members).selectinload(EvaluationMember.checkpoint),
        defer(Evaluation.provenance),
    )
    found = session.scalars(select(Evaluation).where(Evaluation.id.in_(ids)).options(*whole))
    evaluations = {evaluation.id: evaluation for evaluation in found}
    kept = session.scalars(select(EvaluationOutcomes).where(EvaluationOutcomes.evaluation_id.in_(ids)))
    stored = {(row.evaluation_id, row.member_position): row for row in kept}
    return [_subject(reference, evaluations, stored) for reference in references]


def _subject(
    reference: str,
    evaluations: Mapping[str, Evaluation],
    stored: Mapping[tuple[str, int | None], EvaluationOutcomes],
) -> Subject:
    evaluation_id, named, name = reference.partition(":")
    evaluation = _succeeded(evaluation_id, evaluations.get(evaluation_id))
    members = tuple(evaluation.members)
    if named:
        members = tuple(m for m, names in zip(members, _names(members), strict=True) if name in names)
        if not members:
            raise NotFoundError("member", name, (names[0] for names in _names(tuple(evaluation.members))))
    only = members[0] if len(members) == 1 else None
    row = stored.get((evaluation_id, None if only is None else only.position))
    if row is None:
        raise OutcomesMissingError(evaluation_id)
    whose = "ensemble" if only is None else _names(tuple(evaluation.members))[only.position][0]
    return Subject(reference, evaluation, whose, members, row)


def told_apart(checkpoints: Sequence[str]) -> list[str]:
    """Names of an evaluation's members: `NAME#POSITION`, from 1, where a checkpoint comes twice."""
    counts = Counter(checkpoints)
    return [name if counts[name] == 1 else f"{name}#{position}" for position, name in enumerate(checkpoints, 1)]


def _names(members: Sequence[EvaluationMember]) -> list[tuple[str, ...]]:
    """What each member answers to: its name and, where its checkpoint comes once, the checkpoint's id."""
    names = told_apart([member.checkpoint.name for member in members])
    return [
        (name, member.checkpoint.id) if name == member.checkpoint.name else (name,)
        for name, member in zip(names, members, strict=True)
    ]


def find_members(session: Session, evaluation_id: str) -> list[Subject]:
    """Every member of an evaluation, in order.

    Raises:
        NotFoundError: no such evaluation.
        StateConflictError: it has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
    """
    rows = select(EvaluationMember).where(EvaluationMember.evaluation_id == evaluation_id)
    members = session.scalars(rows.order_by(EvaluationMember.position).options(joinedload(EvaluationMember.checkpoint)))
    references = [f"{evaluation_id}:{names[-1]}" for names in _names(members.all())]
    if not references:
        raise NotFoundError("evaluation", evaluation_id)
    return [replace(subject, reference=f"{evaluation_id}:{subject.name}") for subject in find_all(session, references)]


def read_answers(artifacts: ArtifactStore, subjects: Sequence[Subject]) -> list[Answers]:
    """The answers of each subject; every index is read once.

    Raises:
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    return list(iterate_answers(artifacts, subjects))


def iterate_answers(artifacts: ArtifactStore, subjects: Iterable[Subject]) -> Iterator[Answers]:
    """As `read_answers`, one after another: of hundreds of subjects, those before need not stay in memory."""
    indexes: dict[str | None, DatasetIndex] = {}
    taken: dict[tuple[str | None, bytes], tuple[str, ...]] = {}
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
        yield Answers(index, images, taken[key], found)


def _succeeded(evaluation_id: str, evaluation: Evaluation | None) -> Evaluation:
    if evaluation is None:
        raise NotFoundError("evaluation", evaluation_id)
    if evaluation.status != EvaluationStatus.SUCCEEDED:
        raise StateConflictError("evaluation", evaluation_id, evaluation.status, "compared")
    return evaluation
