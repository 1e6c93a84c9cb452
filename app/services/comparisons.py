"""Paired comparisons of what was fused, image by image: from the stored outcomes, without posteriors or a worker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import InvalidRequestError
from app.representations.comparisons import ComparedDocument, ComparedMetric, ComparisonDocument, PairDocument
from app.services import subjects
from app.services.subjects import Subject
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
class _Judged:
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
        sides = [subjects.find(session, reference) for reference in (base, *candidates)]
    _check_distinct(sides)
    answers = _judge(artifacts, sides)
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


def _check_distinct(sides: Sequence[Subject]) -> None:
    seen = {sides[0].key}
    problems = []
    for side in sides[1:]:
        if side.key in seen:
            rule = "each member or ensemble once, and another than the base"
            problems.append(Problem("candidate", rule, side.reference, "duplicate"))
        seen.add(side.key)
    if problems:
        raise InvalidRequestError(problems)


def _judge(artifacts: ArtifactStore, sides: Sequence[Subject]) -> list[_Judged]:
    """The few numbers of each side that a comparison needs."""
    numbers: dict[str, int] = {}
    judged = []
    for one in subjects.read_answers(artifacts, sides):
        classes = [numbers.setdefault(name, len(numbers)) for name in one.index.classes]
        wrong = {metric: one.outcomes.wrong(k) for metric, k in METRICS.items()}
        judged.append(_Judged(one.ids, np.array(classes, dtype=np.int64)[one.outcomes.labels], wrong))
    return judged


def _check_labels(sides: Sequence[Subject], answers: Sequence[_Judged], shared: SharedImages) -> None:
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
    metric: ComparedMetric, sides: Sequence[Subject], answers: Sequence[_Judged], shared: SharedImages
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


def _differences(base: Subject, candidate: Subject) -> tuple[str, ...]:
    """Fields of the protocols, members taken together, that are not the same; and "classes", where those differ."""
    left, right = _settings(base), _settings(candidate)
    return tuple(sorted(field for field in left.keys() | right.keys() if left.get(field) != right.get(field)))


def _settings(side: Subject) -> dict[str, Any]:
    # Which classes there are to be taken for matters, how a data set numbers them does not.
    settings: dict[str, Any] = {"classes": sorted(side.dataset.classes or ())}
    for field in {field for member in side.members for field in member.protocol}:
        settings[field] = {canonical_json(member.protocol.get(field)) for member in side.members}
    return settings


def _subject(side: Subject, images: int, left_out: int) -> ComparedDocument:
    names = {member.protocol_name for member in side.members}
    return ComparedDocument(
        reference=side.reference,
        evaluation=side.evaluation.id,
        subject=side.kind,
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
