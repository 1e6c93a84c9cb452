"""The images of an evaluation, filtered by how they were answered; top classes come from the stored posteriors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from app.artifacts import ArtifactStore
from app.db.queries.pages import check_limit
from app.db.session import Database
from app.errors import ArtifactDamagedError, InvalidRequestError
from app.representations.answered_images import (
    AnsweredImageDocument,
    AnsweredImagesDocument,
    CellMetric,
    CompareCell,
    ImageAnswerDocument,
    RankedClass,
    Shown,
)
from app.representations.answers import AnsweringDocument
from app.services import posteriors
from app.services.answering import answers, subjects
from app.services.answering.class_answers import answering, position_of
from app.services.answering.subjects import Answers, Subject
from ensembles.agreement import ensemble_effect, members_disagree
from ensembles.dataset_index import printable_id
from ensembles.errors import Problem

#: Classes of highest posterior that are shown.
TOP = 5

#: The k of top-k behind each metric of a comparison's cell.
_K: dict[CellMetric, int] = {"top1_error": 1, "top5_error": 5}

#: How far a stored posterior may be from the one that was scored: far above rounding, far below another answer.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class ImageFilter:
    """Which images, in which order.

    Attributes:
        name: whose answers `shown` and `predicted` speak of: a member; None is the ensemble, or the only member.
        shown: "confident" are the wrong ones, most confident first; "rescued" and "broken" by the ensemble against its
            member of fewest errors; "disagree" where not all members give the same class.
        label: only of this true class.
        predicted: only those answered with this class.
        base: with `candidate` and `cell`, a cell of the comparison of two subjects, one of them of this evaluation.
        candidate: see `base`.
        cell: see `base`.
        metric: of that comparison.
    """

    name: str | None = None
    shown: Shown = "all"
    label: int | None = None
    predicted: int | None = None
    base: str | None = None
    candidate: str | None = None
    cell: CompareCell | None = None
    metric: CellMetric = "top1_error"

    def __post_init__(self) -> None:
        given = {"base": self.base, "candidate": self.candidate, "cell": self.cell}
        missing = [name for name, value in given.items() if value is None]
        if 0 < len(missing) < len(given):
            rule = "base, candidate and cell together, or none of them"
            raise InvalidRequestError([Problem(name, rule, None, "missing_field") for name in missing])


@dataclass(frozen=True, eq=False)
class _Column:
    """One subject whose answers are shown; `rows` (n,) of the page's evaluation are `own_rows` (n,) of its answers."""

    subject: Subject
    answers: Answers
    rows: NDArray[np.int64]
    own_rows: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Selection:
    """What a filter leaves: rows of `main`, and the columns that are shown for them."""

    main: Subject
    answers: Answers
    rows: NDArray[np.int64]
    columns: list[_Column]
    base: Subject | None = None
    candidate: Subject | None = None
    reference: str | None = None
    problems: list[str] = field(default_factory=list)


def list_page(
    db: Database,
    artifacts: ArtifactStore,
    evaluation_id: str,
    wanted: ImageFilter,
    *,
    cursor: str | None = None,
    limit: int = 50,
) -> AnsweredImagesDocument:
    """One page of images with every answer to them.

    Args:
        db: the database.
        artifacts: hold outcomes and posteriors.
        evaluation_id: whose.
        wanted: which.
        cursor: `next` of the page before.
        limit: images of a page, 1 to 200.

    Raises:
        InvalidRequestError: a class that the data set has not, sides that cannot be compared or are both of other
            evaluations, a cursor that is none of ours, or the limit out of range.
        NotFoundError: no such evaluation or member.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different. Posteriors that are
            damaged are no error; the document says so.
    """
    check_limit(limit)
    start = position_of(cursor)
    chosen = (
        _compared(db, artifacts, evaluation_id, wanted) if wanted.cell else _plain(db, artifacts, evaluation_id, wanted)
    )
    chosen = _of_classes(chosen, wanted)
    rows = chosen.rows[start : start + limit]
    problems: list[str] = []
    columns = _answers(db, artifacts, chosen, rows, problems) if len(rows) else []
    index = chosen.answers.index
    dataset_id = chosen.main.dataset.id
    items = []
    for number, row in enumerate(rows.tolist()):
        position = int(chosen.answers.images[row])
        image = index.images[position]
        items.append(
            AnsweredImageDocument(
                index=position,
                id=printable_id(image.id),
                label=image.label,
                class_name=index.classes[image.label],
                width=image.width,
                height=image.height,
                thumbnail=f"/datasets/{dataset_id}/images/{position}/thumbnail",
                answers=[column[number] for column in columns],
            )
        )
    stop = start + limit
    return AnsweredImagesDocument(
        subject=answering(chosen.main),
        base=None if chosen.base is None else answering(chosen.base),
        candidate=None if chosen.candidate is None else answering(chosen.candidate),
        reference=chosen.reference,
        n=len(chosen.answers.images),
        found=len(chosen.rows),
        problems=problems,
        items=items,
        next=str(stop) if stop < len(chosen.rows) else None,
    )


def _plain(db: Database, artifacts: ArtifactStore, evaluation_id: str, wanted: ImageFilter) -> _Selection:
    """The images of one evaluation, answered by its ensemble and every member."""
    with db.read() as session:
        main = answers.find(session, evaluation_id, wanted.name)
        members = subjects.find_members(session, evaluation_id)
        sides = [answers.find(session, evaluation_id), *members] if len(members) > 1 else members
    found = subjects.read_answers(artifacts, sides)
    ours = next(one for side, one in zip(sides, found, strict=True) if side.key == main.key)
    wrong = ours.outcomes.wrong()
    reference = None
    if wanted.shown == "all":
        rows = np.arange(len(wrong))
    elif wanted.shown in ("wrong", "confident"):
        rows = np.flatnonzero(wrong)
        if wanted.shown == "confident":
            rows = rows[np.argsort(-ours.outcomes.confidences[rows], kind="stable")]
    elif len(members) == 1:
        rows = np.arange(0)
    elif wanted.shown == "disagree":
        rows = np.flatnonzero(members_disagree(np.stack([one.outcomes.predicted for one in found[1:]])))
    else:
        effect = ensemble_effect(np.stack([one.outcomes.wrong() for one in found[1:]]), found[0].outcomes.wrong())
        rows = np.flatnonzero(effect.rescued if wanted.shown == "rescued" else effect.broken)
        reference = members[effect.reference].name
    everything = np.arange(len(wrong))
    columns = [_Column(side, one, everything, everything) for side, one in zip(sides, found, strict=True)]
    return _Selection(main, ours, rows, columns, reference=reference)


def _compared(db: Database, artifacts: ArtifactStore, evaluation_id: str, wanted: ImageFilter) -> _Selection:
    """The images of a cell of a comparison, answered by its two sides."""
    with db.read() as session:
        sides = [subjects.find(session, str(wanted.base)), subjects.find(session, str(wanted.candidate))]
    mine = [side for side in sides if side.evaluation.id == evaluation_id]
    if not mine:
        rule = f"the base or the candidate is of evaluation {evaluation_id}"
        raise InvalidRequestError([Problem("candidate", rule, wanted.candidate)])
    main = mine[-1]
    base, candidate = subjects.read_answers(artifacts, sides)
    shared = answers.join(base, candidate, sides[0].reference)
    k = _K[wanted.metric]
    base_wrong, candidate_wrong = shared.base.wrong(k), shared.candidate.wrong(k)
    inside = {
        "only_base_wrong": base_wrong & ~candidate_wrong,
        "only_candidate_wrong": candidate_wrong & ~base_wrong,
        "both_wrong": base_wrong & candidate_wrong,
        "both_right": ~(base_wrong | candidate_wrong),
    }[str(wanted.cell)]
    own, rows = (candidate, shared.rows) if main is sides[1] else (base, shared.base_rows)
    columns = [
        _Column(sides[0], base, rows, shared.base_rows),
        _Column(sides[1], candidate, rows, shared.rows),
    ]
    return _Selection(main, own, np.sort(rows[inside]), columns, base=sides[0], candidate=sides[1])


def _of_classes(chosen: _Selection, wanted: ImageFilter) -> _Selection:
    names = chosen.answers.index.classes
    problems = [
        Problem(name, f"a class number from 0 to {len(names) - 1}", value)
        for name, value in (("label", wanted.label), ("predicted", wanted.predicted))
        if value is not None and not 0 <= value < len(names)
    ]
    if problems:
        raise InvalidRequestError(problems)
    rows, outcomes = chosen.rows, chosen.answers.outcomes
    if wanted.label is not None:
        rows = rows[outcomes.labels[rows] == wanted.label]
    if wanted.predicted is not None:
        rows = rows[outcomes.predicted[rows] == wanted.predicted]
    return _Selection(
        chosen.main, chosen.answers, rows, chosen.columns, chosen.base, chosen.candidate, chosen.reference
    )


def _answers(
    db: Database, artifacts: ArtifactStore, chosen: _Selection, rows: NDArray[np.int64], problems: list[str]
) -> list[list[ImageAnswerDocument]]:
    """For every column the answers to the images of `rows`; what cannot be read is added to `problems`."""
    own_rows = []
    for column in chosen.columns:
        of_main = np.full(len(chosen.answers.images), -1, dtype=np.int64)
        of_main[column.rows] = column.own_rows
        own_rows.append(of_main[rows])
    located = {}
    with db.read() as session:
        for column, own in zip(chosen.columns, own_rows, strict=True):
            key = column.subject.evaluation.id
            if key not in located:
                subjects_of = [one.subject for one in chosen.columns if one.subject.evaluation.id == key]
                located[key] = posteriors.locate(session, artifacts, subjects_of, column.answers.images[own])
    return [
        _of_subject(column, own, located[column.subject.evaluation.id], problems)
        for column, own in zip(chosen.columns, own_rows, strict=True)
    ]


def _of_subject(
    column: _Column, rows: NDArray[np.int64], located: posteriors.MemberPosteriors, problems: list[str]
) -> list[ImageAnswerDocument]:
    outcomes = column.answers.outcomes.take(rows)
    names = column.answers.index.classes
    top: list[list[RankedClass] | None] = [None] * len(rows)
    try:
        probs = located.of(column.subject)
        if probs.shape[1] != len(names) or not _are_those_scored(probs, outcomes.labels, outcomes.label_probs):
            raise ArtifactDamagedError(f"posteriors of {column.subject.name}", "they are not what was scored")
        top = [_ranked(row, names) for row in probs]
    except ArtifactDamagedError as error:
        if str(error) not in problems:
            problems.append(str(error))
    document = answering(column.subject)
    return [_answer(document, names, outcomes.to_array()[number], top[number]) for number in range(len(rows))]


def _are_those_scored(probs: NDArray[np.float64], labels: NDArray[np.int32], label_probs: NDArray[np.float64]) -> bool:
    """Checksums of whole files would cost reading them; the outcomes tell what these rows must say of the labels."""
    own = probs[np.arange(len(labels)), labels]
    return bool((np.abs(own - label_probs) <= _TOLERANCE).all())


def _ranked(row: NDArray[np.float64], names: Sequence[str]) -> list[RankedClass]:
    best = np.argsort(-row, kind="stable")[:TOP]
    return [RankedClass(label=int(k), class_name=names[k], probability=float(row[k])) for k in best.tolist()]


def _answer(
    subject: AnsweringDocument, names: Sequence[str], outcome: np.void, top: list[RankedClass] | None
) -> ImageAnswerDocument:
    predicted = int(outcome["predicted"])
    return ImageAnswerDocument(
        subject=subject,
        predicted=predicted,
        predicted_name=names[predicted],
        confidence=float(outcome["confidences"]),
        label_probability=float(outcome["label_probs"]),
        rank=int(outcome["ranks"]),
        top=top,
    )
