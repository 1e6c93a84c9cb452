"""Paired comparisons of what was fused, image by image: from the stored outcomes, without posteriors or a worker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import InvalidRequestError
from app.representations.comparisons import (
    COMPARED_METRICS,
    ERROR_METRICS,
    ComparedMetric,
    ComparisonDocument,
    PairDocument,
    RankDocument,
    comparison_links,
)
from app.services.answering import subjects
from app.services.answering.outcomes import FILE_DTYPE
from app.services.answering.subjects import Subject
from app.services.comparing import compared_sides
from app.services.comparing.compared_sides import ECE_BINS, IMAGE_VALUES, CommonClasses
from ensembles.alignment import shared_images
from ensembles.calibration import gap_score
from ensembles.errors import Problem
from ensembles.paired import PairedComparison, adjust_family, compare_errors, compare_values
from ensembles.ranking import better_than, rank_ranges
from ensembles.wording import describe

CONFIDENCE = 0.95

#: Sides of one comparison besides the base.
MAX_CANDIDATES = 500

#: Numbers of single images, over all sides, that one metric may have resampled: 134 MB.
MAX_RESAMPLED = 1 << 24


@dataclass(frozen=True, eq=False)
class _Judged:
    """Of one side: ids (n,), true classes as numbers that mean the same on every side, and each metric's values."""

    ids: Sequence[str]
    labels: NDArray[np.int32]
    values: Mapping[ComparedMetric, NDArray[Any]]


def compare(
    db: Database,
    artifacts: ArtifactStore,
    base: str,
    candidates: Sequence[str],
    metrics: Iterable[str] = ERROR_METRICS,
) -> ComparisonDocument:
    """Compare candidates with a base on the images that all of them scored, joined by image id.

    The candidates of one metric are one family of tests.

    Args:
        db: the database.
        artifacts: hold the outcomes.
        base: the id of an evaluation, which stands for its ensemble or its only member; or `ID:NAME`, one member.
        candidates: likewise, 1 to `MAX_CANDIDATES`.
        metrics: at least one of `COMPARED_METRICS`; those that are no error are resampled, at most `MAX_RESAMPLED`
            numbers each.

    Raises:
        InvalidRequestError: the same side twice, no shared image, an image whose true class is not the same everywhere,
            or too many numbers to resample.
        NotFoundError: no such evaluation or member.
        StateConflictError: an evaluation has not succeeded.
        OutcomesMissingError: an evaluation was fused by a release that kept no outcomes.
        ArtifactDamagedError: stored outcomes, or a data set's index, are missing or different.
    """
    if not 1 <= len(candidates) <= MAX_CANDIDATES:
        raise InvalidRequestError([Problem("candidate", f"1 to {MAX_CANDIDATES} of them", len(candidates))])
    asked = _check_metrics(metrics)
    with db.read() as session:
        sides = subjects.find_all(session, (base, *candidates))
    _check_distinct(sides)
    _check_effort(sides, asked)
    answers = _judge(artifacts, sides, asked)
    shared = shared_images([one.ids for one in answers])
    if not shared.ids:
        raise InvalidRequestError([Problem("candidate", "images that all sides have scored", "none")])
    compared_sides.check_same_truth([side.reference for side in sides], [one.labels for one in answers], shared)
    differing = [compared_sides.protocol_differences(sides[0], side) for side in sides[1:]]
    families: list[tuple[PairedComparison, ...]] = []
    ranks: list[RankDocument] = []
    for metric in asked:
        values = [one.values[metric][rows] for one, rows in zip(answers, shared.positions, strict=True)]
        families.append(_family(metric, [side.reference for side in sides], values))
        if metric in ERROR_METRICS:
            ranks += _ranks(metric, sides, values)
    return ComparisonDocument(
        base=base,
        confidence=CONFIDENCE,
        metrics=list(asked),
        subjects=[
            compared_sides.describe(side, len(one.ids), dropped)
            for side, one, dropped in zip(sides, answers, shared.dropped, strict=True)
        ],
        pairs=[
            _pair(replace(pair, protocols_differ=fields))
            for fields, of_candidate in zip(differing, zip(*families, strict=True), strict=True)
            for pair in of_candidate
        ],
        ranks=ranks,
        links=comparison_links(base, candidates, asked),
    )


def _check_metrics(metrics: Iterable[str]) -> tuple[ComparedMetric, ...]:
    """Those asked for, each once, in one order."""
    asked = list(metrics)
    unknown = [metric for metric in asked if metric not in COMPARED_METRICS]
    if unknown or not asked:
        raise InvalidRequestError([Problem("metric", f"one or more of {', '.join(COMPARED_METRICS)}", unknown or None)])
    return tuple(metric for metric in COMPARED_METRICS if metric in asked)


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


def _check_effort(sides: Sequence[Subject], metrics: Sequence[ComparedMetric]) -> None:
    """Before anything is read: what is resampled must fit into memory."""
    images = sum(side.stored.size_bytes // FILE_DTYPE.itemsize for side in sides)
    problems = []
    for metric in metrics:
        numbers = images * (ECE_BINS if metric == "ece" else 1)
        if metric not in ERROR_METRICS and numbers > MAX_RESAMPLED:
            rule = f"for {metric}, at most {MAX_RESAMPLED:,} numbers of single images over all sides"
            problems.append(Problem("metric", f"{rule} (fewer candidates)", numbers))
    if problems:
        raise InvalidRequestError(problems)


def _judge(artifacts: ArtifactStore, sides: Sequence[Subject], metrics: Sequence[ComparedMetric]) -> list[_Judged]:
    """The few numbers of each side that a comparison needs."""
    classes = CommonClasses()
    return [
        _Judged(one.ids, classes.labels(one), {metric: IMAGE_VALUES[metric](one.outcomes) for metric in metrics})
        for one in subjects.iterate_answers(artifacts, sides)
    ]


def _family(
    metric: ComparedMetric, references: Sequence[str], values: Sequence[NDArray[Any]]
) -> tuple[PairedComparison, ...]:
    base, candidates = values[0], dict(zip(references[1:], values[1:], strict=True))
    if metric in ERROR_METRICS:
        return compare_errors(base, candidates, metric=metric, confidence=CONFIDENCE)
    score = gap_score if metric == "ece" else None
    return adjust_family(compare_values(base, candidates, metric=metric, confidence=CONFIDENCE, score=score))


def _ranks(metric: ComparedMetric, sides: Sequence[Subject], values: Sequence[NDArray[np.bool_]]) -> list[RankDocument]:
    ranges = rank_ranges(better_than(np.stack(values), CONFIDENCE))
    return [
        RankDocument(reference=side.reference, metric=metric, best=best, worst=worst)
        for side, (best, worst) in zip(sides, ranges, strict=True)
    ]


def _pair(pair: PairedComparison) -> PairDocument:
    both_wrong = both_right = None
    if pair.only_base_wrong is not None and pair.only_candidate_wrong is not None:
        both_wrong = round(pair.base_value * pair.n) - pair.only_base_wrong
        both_right = pair.n - both_wrong - pair.only_base_wrong - pair.only_candidate_wrong
    return PairDocument(
        candidate=pair.candidate,
        metric=cast("ComparedMetric", pair.metric),
        n=pair.n,
        base_value=pair.base_value,
        candidate_value=pair.candidate_value,
        difference=pair.difference,
        low=pair.low,
        high=pair.high,
        both_wrong=both_wrong,
        only_base_wrong=pair.only_base_wrong,
        only_candidate_wrong=pair.only_candidate_wrong,
        both_right=both_right,
        p_exact=pair.p_exact,
        p_mid=pair.p_mid,
        p=pair.p,
        p_adjusted=pair.p_adjusted,
        detectable_difference_80=pair.detectable_difference_80,
        verdict=pair.verdict,
        summary=describe(pair),
        protocols_differ=list(pair.protocols_differ),
    )
