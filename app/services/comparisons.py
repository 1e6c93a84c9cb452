"""Paired comparisons of what was fused, image by image: from the stored outcomes, without posteriors or a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.artifacts import ArtifactStore
from app.db.models import Dataset, Evaluation, EvaluationMember, EvaluationOutcomes, EvaluationStatus
from app.db.session import Database
from app.errors import InvalidRequestError, NotFoundError, OutcomesMissingError, StateConflictError
from app.representations.comparisons import ComparedDocument, ComparedMetric, ComparisonDocument, PairDocument
from app.services import datasets, outcomes
from ensembles.alignment import SharedImages, shared_images
from ensembles.canonical import canonical_json
from ensembles.errors import Problem
from ensembles.paired import PairedComparison, adjust_family, compare_paired
from ensembles.wording import describe

CONFIDENCE = 0.95

#: The k of top-k behind each metric.
METRICS: dict[ComparedMetric, int] = {"top1_error": 1, "top5_error": 5}

#: Sides of one comparison besides the base.
MAX_CANDIDATES = 100


@dataclass(frozen=True, eq=False)
class _Side:
    """A member or ensemble that takes part.

    Attributes:
        reference: how the request names it.
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
        return self.evaluation.dataset

    @property
    def key(self) -> tuple[str, int]:
        """What it is, however it was named."""
        return self.evaluation.id, self.stored.position


@dataclass(frozen=True, eq=False)
class _Answers:
    """Of one side: ids (n,), true classes as numbers that mean the same on every side, and where each metric errs."""

    ids: Sequence[str]
    labels: NDArray[np.int64]
    wrong: dict[ComparedMetric, NDArray[np.bool_]]


def compare(db: Database, artifacts: ArtifactStore, base: str, candidates: Sequence[str]) -> ComparisonDocument:
    """Compare candidates with a base on the images that all of them scored, joined by image id.

    The candidates of one metric are one family of tests.

    Args:
        db: the database.
        artifacts: hold the outcomes.
        base: the id of an evaluation, which stands for its ensemble or its only member; or `ID:NAME`, one member.
        candidates: likewise, 1 to `MAX_CANDIDATES`.

    Raises:
        InvalidRequestError: the same side twice, no shared image, or an image whose true class is not the same
            everywhere.
        NotFoundError: no such evaluation or member.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: an evaluation was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    if not 1 <= len(candidates) <= MAX_CANDIDATES:
        raise InvalidRequestError([Problem("candidate", f"1 to {MAX_CANDIDATES} of them", len(candidates))])
    with db.read() as session:
        sides = [_find(session, reference) for reference in (base, *candidates)]
    _check_distinct(sides)
    answers = _read_answers(artifacts, sides)
    shared = shared_images([one.ids for one in answers])
    if not shared.ids:
        raise InvalidRequestError([Problem("candidate", "images that all sides have scored", "none")])
    _check_labels(sides, answers, shared)
    families = [_family(metric, sides, answers, shared) for metric in METRICS]
    return ComparisonDocument(
        base=base,
        confidence=CONFIDENCE,
        subjects=[
            _subject(side, len(one.ids), dropped)
            for side, one, dropped in zip(sides, answers, shared.dropped, strict=True)
        ],
        pairs=[_pair(pair) for of_candidate in zip(*families, strict=True) for pair in of_candidate],
    )


def _find(session: Session, reference: str) -> _Side:
    evaluation_id, named, name = reference.partition(":")
    rows = select(Evaluation).where(Evaluation.id == evaluation_id)
    whole = (joinedload(Evaluation.dataset), selectinload(Evaluation.members).joinedload(EvaluationMember.checkpoint))
    evaluation = session.scalars(rows.options(*whole)).one_or_none()
    if evaluation is None:
        raise NotFoundError("evaluation", evaluation_id)
    if evaluation.status != EvaluationStatus.SUCCEEDED:
        raise StateConflictError("evaluation", evaluation_id, evaluation.status, "compared")
    members = tuple(evaluation.members)
    if named:
        members = tuple(member for member in members if name in (member.checkpoint.name, member.checkpoint.id))
        if not members:
            raise NotFoundError("member", name, (member.checkpoint.name for member in evaluation.members))
    only = members[0] if len(members) == 1 else None
    stored = session.scalars(
        select(EvaluationOutcomes).where(
            EvaluationOutcomes.evaluation_id == evaluation_id,
            EvaluationOutcomes.member_position.is_(None)
            if only is None
            else EvaluationOutcomes.member_position == only.position,
        )
    ).one_or_none()
    if stored is None:
        raise OutcomesMissingError(evaluation_id)
    return _Side(reference, evaluation, "ensemble" if only is None else only.checkpoint.name, members, stored)


def _check_distinct(sides: Sequence[_Side]) -> None:
    seen = {sides[0].key}
    problems = []
    for side in sides[1:]:
        if side.key in seen:
            rule = "each member or ensemble once, and another than the base"
            problems.append(Problem("candidate", rule, side.reference, "duplicate"))
        seen.add(side.key)
    if problems:
        raise InvalidRequestError(problems)


def _read_answers(artifacts: ArtifactStore, sides: Sequence[_Side]) -> list[_Answers]:
    """The few numbers of each side that a comparison needs; every index is read once."""
    indexes: dict[str | None, tuple[str, ...]] = {}
    taken: dict[tuple[str | None, bytes], tuple[str, ...]] = {}
    numbers: dict[str, int] = {}
    answers = []
    for side in sides:
        images, found = outcomes.load(artifacts, side.stored)
        digest = side.dataset.index_sha256
        if digest not in indexes:
            indexes[digest] = datasets.load_index(artifacts, side.dataset).ids
        # Sides that scored the same images share one tuple, and joining them costs nothing.
        key = (digest, images.tobytes())
        if key not in taken:
            taken[key] = tuple(indexes[digest][image] for image in images.tolist())
        classes = [numbers.setdefault(name, len(numbers)) for name in side.dataset.classes or []]
        wrong = {metric: found.wrong(k) for metric, k in METRICS.items()}
        answers.append(_Answers(taken[key], np.array(classes, dtype=np.int64)[found.labels], wrong))
    return answers


def _check_labels(sides: Sequence[_Side], answers: Sequence[_Answers], shared: SharedImages) -> None:
    """Answers to different questions cannot be compared."""
    expected = answers[0].labels[shared.positions[0]]
    for side, one, positions in zip(sides, answers, shared.positions, strict=True):
        differing = np.flatnonzero(one.labels[positions] != expected)
        if len(differing):
            rule = "of each shared image the true class that it has in the base's data set"
            image = shared.ids[int(differing[0])]
            value = f"{side.reference} with another for {len(differing)} images, such as {image}"
            raise InvalidRequestError([Problem("candidate", rule, value)])


def _family(
    metric: ComparedMetric, sides: Sequence[_Side], answers: Sequence[_Answers], shared: SharedImages
) -> tuple[PairedComparison, ...]:
    base, *others = (one.wrong[metric][positions] for one, positions in zip(answers, shared.positions, strict=True))
    pairs = [
        compare_paired(base, wrong, candidate=side.reference, metric=metric, confidence=CONFIDENCE)
        for side, wrong in zip(sides[1:], others, strict=True)
    ]
    return tuple(
        replace(pair, protocols_differ=_differences(sides[0], side))
        for side, pair in zip(sides[1:], adjust_family(pairs), strict=True)
    )


def _differences(base: _Side, candidate: _Side) -> tuple[str, ...]:
    """Fields of the protocols, members taken together, that are not the same; and "classes", where those differ."""
    left, right = _settings(base), _settings(candidate)
    return tuple(sorted(field for field in left.keys() | right.keys() if left.get(field) != right.get(field)))


def _settings(side: _Side) -> dict[str, Any]:
    settings: dict[str, Any] = {"classes": side.dataset.classes}
    for field in {field for member in side.members for field in member.protocol}:
        settings[field] = {canonical_json(member.protocol.get(field)) for member in side.members}
    return settings


def _subject(side: _Side, images: int, left_out: int) -> ComparedDocument:
    kind: Literal["ensemble", "checkpoint"] = "ensemble" if side.stored.member_position is None else "checkpoint"
    names = {member.protocol_name for member in side.members}
    return ComparedDocument(
        reference=side.reference,
        evaluation=side.evaluation.id,
        subject=kind,
        name=side.name,
        dataset=side.dataset.name,
        protocol_name=names.pop() if len(names) == 1 else None,
        images=images,
        left_out=left_out,
    )


def _pair(pair: PairedComparison) -> PairDocument:
    return PairDocument(
        candidate=pair.candidate,
        metric=cast("ComparedMetric", pair.metric),
        n=pair.n,
        base_value=pair.base_value,
        candidate_value=pair.candidate_value,
        difference=pair.difference,
        low=pair.low,
        high=pair.high,
        only_base_wrong=cast("int", pair.only_base_wrong),
        only_candidate_wrong=cast("int", pair.only_candidate_wrong),
        p_exact=cast("float", pair.p_exact),
        p_mid=cast("float", pair.p_mid),
        p_adjusted=pair.p_adjusted,
        detectable_difference_80=pair.detectable_difference_80,
        verdict=pair.verdict,
        summary=describe(pair),
        protocols_differ=list(pair.protocols_differ),
    )
