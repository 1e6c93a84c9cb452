"""The classes of an evaluation: the error of each, and which are taken for which; from stored outcomes alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.artifacts import ArtifactStore
from app.db.queries.pages import invalid_cursor
from app.db.session import Database
from app.representations.answers import (
    AnsweringDocument,
    ClassDeltaDocument,
    ClassDocument,
    ClassesDocument,
    ClassSort,
    ConfusedDocument,
    ConfusionDocument,
    Order,
)
from app.services.answering import answers, subjects
from app.services.answering.subjects import Subject
from ensembles.class_deltas import ClassDelta, class_deltas
from ensembles.confusion import ConfusedPair, class_errors, confused_pairs
from ensembles.outcomes import ImageOutcomes

CONFIDENCE = 0.95

#: How a column is sorted unless the request says otherwise: what matters most comes first.
NATURAL_ORDER: dict[ClassSort, Order] = {
    "class": "ascending",
    "images": "descending",
    "errors": "descending",
    "error": "descending",
    "difference": "descending",
    "p": "ascending",
}

_KEYS: dict[ClassSort, Callable[[ClassDocument], float | None]] = {
    "class": lambda item: item.label,
    "images": lambda item: item.n,
    "errors": lambda item: item.errors,
    "error": lambda item: item.value,
    "difference": lambda item: None if item.delta is None else item.delta.difference,
    "p": lambda item: None if item.delta is None else item.delta.p_exact,
}


def classes(
    db: Database,
    artifacts: ArtifactStore,
    evaluation_id: str,
    *,
    name: str | None = None,
    base: str | None = None,
    sort: ClassSort | None = None,
    order: Order | None = None,
    cursor: str | None = None,
    limit: int | None = None,
) -> ClassesDocument:
    """The top-1 error of each class, and its change from a base.

    Args:
        db: the database.
        artifacts: hold the outcomes.
        evaluation_id: whose.
        name: a member; None is the ensemble, or the only member.
        base: `ID` or `ID:NAME`; the classes are then tested on the images that both scored.
        sort: None is the change's p-value with a base, else the error.
        order: None is what is natural for the column.
        cursor: `next` of the page before.
        limit: classes of a page; None is all.

    Raises:
        InvalidRequestError: the cursor is none of ours, or the two sides cannot be compared.
        NotFoundError: no such evaluation or member.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: it was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    with db.read() as session:
        subject = answers.find(session, evaluation_id, name)
        other = None if base is None else subjects.find(session, base)
    sides = [subject] if other is None else [subject, other]
    ours, *theirs = subjects.read_answers(artifacts, sides)
    names = ours.index.classes
    deltas: dict[int, ClassDelta] = {}
    left_out = 0
    if other is not None:
        shared = answers.join(theirs[0], ours, other.reference)
        left_out = shared.left_out
        wrong = shared.base.wrong(), shared.candidate.wrong()
        found = class_deltas(shared.candidate.labels, *wrong, len(names), CONFIDENCE)
        deltas = {delta.label: delta for delta in found}
    sort = sort or ("error" if other is None else "p")
    order = order or NATURAL_ORDER[sort]
    items = _sorted(_items(ours.outcomes, names, deltas), sort, order)
    start = position_of(cursor)
    stop = len(items) if limit is None else start + limit
    return ClassesDocument(
        subject=answering(subject),
        base=None if other is None else answering(other),
        n=len(ours.images),
        left_out=left_out,
        classes=len(names),
        confidence=CONFIDENCE,
        sort=sort,
        order=order,
        items=items[start:stop],
        next=str(stop) if stop < len(items) else None,
    )


def confusion(
    db: Database, artifacts: ArtifactStore, evaluation_id: str, *, name: str | None = None, limit: int | None = None
) -> ConfusionDocument:
    """Which classes are taken for which, most frequent first; arguments and errors as `classes`."""
    subject, ours = answers.read(db, artifacts, evaluation_id, name)
    names = ours.index.classes
    pairs = confused_pairs(ours.outcomes.labels, ours.outcomes.predicted, len(names))
    return ConfusionDocument(
        subject=answering(subject),
        n=len(ours.images),
        errors=int(ours.outcomes.wrong().sum()),
        classes=len(names),
        pairs=len(pairs),
        items=[_confused(pair, names) for pair in pairs[:limit]],
    )


def answering(subject: Subject) -> AnsweringDocument:
    """Whose answers a document is about."""
    return AnsweringDocument(
        reference=subject.reference,
        evaluation=subject.evaluation.id,
        subject=subject.kind,
        name=subject.name,
        dataset=subject.dataset.name,
    )


def position_of(cursor: str | None) -> int:
    """Where a page begins that is cut out of a sorted list.

    Raises:
        InvalidRequestError: the cursor is none of ours.
    """
    if cursor is None:
        return 0
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise invalid_cursor(cursor)
    return int(cursor)


def _items(outcomes: ImageOutcomes, names: Sequence[str], deltas: Mapping[int, ClassDelta]) -> list[ClassDocument]:
    worst: dict[int, ConfusedPair] = {}
    for pair in confused_pairs(outcomes.labels, outcomes.predicted, len(names)):
        worst.setdefault(pair.label, pair)
    return [
        ClassDocument(
            label=one.label,
            class_name=names[one.label],
            n=one.n,
            errors=one.errors,
            value=one.value,
            low=one.low,
            high=one.high,
            most_confused=_confused(worst[one.label], names) if one.label in worst else None,
            delta=_delta(deltas[one.label]) if one.label in deltas else None,
        )
        for one in class_errors(outcomes.labels, outcomes.wrong(), len(names), CONFIDENCE)
    ]


def _sorted(items: Sequence[ClassDocument], sort: ClassSort, order: Order) -> list[ClassDocument]:
    """Equal ones by class; those without a value last, in either order."""
    key = _KEYS[sort]
    valued = [(value, item) for item in items if (value := key(item)) is not None]
    sign = -1 if order == "descending" else 1
    valued.sort(key=lambda pair: (sign * pair[0], pair[1].label))
    return [item for _, item in valued] + [item for item in items if key(item) is None]


def _confused(pair: ConfusedPair, names: Sequence[str]) -> ConfusedDocument:
    return ConfusedDocument(
        label=pair.label,
        class_name=names[pair.label],
        predicted=pair.predicted,
        predicted_name=names[pair.predicted],
        count=pair.count,
        share=pair.share,
    )


def _delta(delta: ClassDelta) -> ClassDeltaDocument:
    return ClassDeltaDocument(
        n=delta.n,
        only_base_wrong=delta.only_base_wrong,
        only_candidate_wrong=delta.only_candidate_wrong,
        difference=delta.difference,
        low=delta.low,
        high=delta.high,
        p_exact=delta.p_exact,
        p_adjusted=delta.p_adjusted,
        verdict=delta.verdict,
    )
