"""How one subject answered the images of its evaluation, alone or beside another's answers to the same images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import InvalidRequestError
from app.services.answering import subjects
from app.services.answering.subjects import Answers, Subject
from ensembles.alignment import shared_images
from ensembles.errors import Problem
from ensembles.outcomes import ImageOutcomes


@dataclass(frozen=True, eq=False)
class SharedAnswers:
    """How two subjects answered the N images that both scored, in the candidate's order.

    Attributes:
        base: classes are numbered as in the base's data set, but for `labels`.
        candidate: classes are numbered as in the candidate's data set.
        base_rows: (N,) rows of these images in the base's answers.
        rows: (N,) rows of these images in the candidate's answers.
        left_out: images of the candidate that the base did not score.
    """

    base: ImageOutcomes
    candidate: ImageOutcomes
    base_rows: NDArray[np.int64]
    rows: NDArray[np.int64]
    left_out: int


def find(session: Session, evaluation_id: str, name: str | None = None) -> Subject:
    """The ensemble of an evaluation, or its only member, or the member of this name; errors as `subjects.find`."""
    return subjects.find(session, evaluation_id if name is None else f"{evaluation_id}:{name}")


def read(db: Database, artifacts: ArtifactStore, evaluation_id: str, name: str | None) -> tuple[Subject, Answers]:
    """`find`, and the answers.

    Raises:
        ArtifactDamagedError: stored outcomes, or the data set's index, are missing or different.
    """
    with db.read() as session:
        subject = find(session, evaluation_id, name)
    return subject, subjects.read_answers(artifacts, [subject])[0]


def join(base: Answers, candidate: Answers, reference: str) -> SharedAnswers:
    """The images that both scored, by image id.

    Args:
        base: of one subject.
        candidate: of another.
        reference: names the base in errors.

    Raises:
        InvalidRequestError: no shared image, or one whose true class is not the same on both sides.
    """
    shared = shared_images([candidate.ids, base.ids])
    if not shared.ids:
        raise InvalidRequestError([Problem("base", "images that both sides have scored", f"{reference} with none")])
    rows, base_rows = shared.positions
    ours, theirs = candidate.outcomes.take(rows), base.outcomes.take(base_rows)
    if base.index.classes != candidate.index.classes:
        _check_labels(base, theirs.labels, candidate, ours.labels, reference)
    elif len(differing := np.flatnonzero(ours.labels != theirs.labels)):
        raise _labelled_otherwise(reference, len(differing))
    return SharedAnswers(theirs, ours, base_rows, rows, shared.dropped[0])


def _check_labels(
    base: Answers, theirs: NDArray[np.int32], candidate: Answers, ours: NDArray[np.int32], reference: str
) -> None:
    """Data sets that list their classes otherwise mean the same class where it has the same name."""
    numbers = {name: number for number, name in enumerate(candidate.index.classes)}
    renumbered = np.array([numbers.get(name, -1) for name in base.index.classes])[theirs]
    differing = np.count_nonzero(renumbered != ours)
    if differing:
        raise _labelled_otherwise(reference, int(differing))


def _labelled_otherwise(reference: str, images: int) -> InvalidRequestError:
    rule = "of each shared image the true class that it has in the data set of the evaluation"
    return InvalidRequestError([Problem("base", rule, f"{reference} with another for {images} images")])
