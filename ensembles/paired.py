"""Which of two classifiers is better on the same images, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensembles.bootstrap import bootstrap_means, bootstrap_p, percentile_interval
from ensembles.errors import Problem, SpecError
from ensembles.intervals import tango_interval
from ensembles.mcnemar import mcnemar_exact, mcnemar_mid_p, paired_counts
from ensembles.multiplicity import holm
from ensembles.power import detectable_difference
from ensembles.statistics import confidence_problems, two_sided_z

Verdict = Literal["better", "worse", "no difference detectable"]

#: The chance of being found that makes a difference "detectable".
POWER = 0.8

_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PairedComparison:
    """A candidate beside the base on the images both were scored on, by a metric of which less is better.

    Attributes:
        candidate: its name.
        metric: "top1_error", "top5_error", "nll", "brier", "ece".
        n: images scored by both.
        base_value: the base's score on them.
        candidate_value: the candidate's.
        difference: candidate minus base; negative favours the candidate.
        low: lower limit of `difference`: Tango's score interval for errors, bootstrap percentiles otherwise.
        high: its upper limit.
        p: two-sided, of this comparison alone: exact McNemar for errors, bootstrap otherwise.
        p_adjusted: `p` adjusted for the family of tests it belongs to; the verdict is read from it.
        only_base_wrong: images that the candidate alone answers rightly; None for a metric that is no error.
        only_candidate_wrong: images that the base alone answers rightly; None likewise.
        p_exact: two-sided exact McNemar p; None likewise.
        p_mid: its mid-p, for information; None likewise.
        standard_error: of `difference`, from the bootstrap; None for errors.
        detectable_difference_80: smallest difference that this test finds with a chance of 80 %; None where n is too
            small for any.
        verdict: "better" and "worse" only where p_adjusted is at most 1 - confidence.
        confidence: of the interval and the verdict.
        protocols_differ: names of what differs between the two protocols; filled in by who knows them.
    """

    candidate: str
    metric: str
    n: int
    base_value: float
    candidate_value: float
    difference: float
    low: float
    high: float
    p: float
    p_adjusted: float
    only_base_wrong: int | None = None
    only_candidate_wrong: int | None = None
    p_exact: float | None = None
    p_mid: float | None = None
    standard_error: float | None = None
    detectable_difference_80: float | None = None
    verdict: Verdict = "no difference detectable"
    confidence: float = 0.95
    protocols_differ: tuple[str, ...] = ()


def compare_paired(
    base_wrong: NDArray[np.bool_],
    candidate_wrong: NDArray[np.bool_],
    *,
    candidate: str = "candidate",
    metric: str = "top1_error",
    confidence: float = 0.95,
) -> PairedComparison:
    """Compare two error rates: exact McNemar test, Tango's interval, detectable difference.

    Args:
        base_wrong: (N,) True where the base is wrong, N at least 1.
        candidate_wrong: (N,), of the same images.
        candidate: name that the result carries.
        metric: likewise.
        confidence: of the interval, and 1 minus the level of the test; strictly between 0 and 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    return compare_errors(base_wrong, {candidate: candidate_wrong}, metric=metric, confidence=confidence)[0]


def compare_errors(
    base_wrong: NDArray[np.bool_],
    candidates: Mapping[str, NDArray[np.bool_]],
    *,
    metric: str = "top1_error",
    confidence: float = 0.95,
) -> tuple[PairedComparison, ...]:
    """Compare the error rates of M candidates with that of a base, judged as one family by Holm's adjustment.

    The same as `adjust_family` of each `compare_paired`, for hundreds of candidates at once.

    Args:
        base_wrong: (N,) True where the base is wrong, N at least 1.
        candidates: by name, (N,) of the same images.
        metric: name that the results carry.
        confidence: of the intervals, and 1 minus the level of the tests; strictly between 0 and 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check_confidence(confidence)
    counts = [paired_counts(base_wrong, wrong) for wrong in candidates.values()]
    only_base = np.array([one.only_base_wrong for one in counts], dtype=np.int64)
    only_candidate = np.array([one.only_candidate_wrong for one in counts], dtype=np.int64)
    exact = mcnemar_exact(only_base, only_candidate)
    tests = zip(exact.tolist(), mcnemar_mid_p(only_base, only_candidate).tolist(), holm(exact).tolist(), strict=True)
    alpha = 1 - confidence
    # It follows from the number of discordant images alone, which many candidates share.
    detectable = {
        d: detectable_difference(len(base_wrong), d, alpha / len(counts), POWER)
        for d in {one.discordant for one in counts}
    }
    comparisons = []
    for name, one, (p_exact, p_mid, p_adjusted) in zip(candidates, counts, tests, strict=True):
        b, c, n = one.only_base_wrong, one.only_candidate_wrong, one.n
        low, high = tango_interval(b, c, n, confidence)
        comparison = PairedComparison(
            candidate=name,
            metric=metric,
            n=n,
            base_value=(one.both_wrong + b) / n,
            candidate_value=(one.both_wrong + c) / n,
            difference=(c - b) / n,
            low=low,
            high=high,
            p=p_exact,
            p_adjusted=p_adjusted,
            only_base_wrong=b,
            only_candidate_wrong=c,
            p_exact=p_exact,
            p_mid=p_mid,
            detectable_difference_80=detectable[one.discordant],
            verdict=_verdict((c - b) / n, p_adjusted, alpha),
            confidence=confidence,
        )
        comparisons.append(comparison)
    return tuple(comparisons)


def compare_values(
    base_values: NDArray[np.floating[Any]],
    candidates: Mapping[str, NDArray[np.floating[Any]]],
    *,
    metric: str,
    confidence: float = 0.95,
    score: Callable[[_Floats], _Floats] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[PairedComparison, ...]:
    """Compare any score that is a mean over images, or a function of such means, by the paired bootstrap.

    All candidates share each resample, and so its cost; every one is judged by itself (see `adjust_family`).

    Args:
        base_values: (N,) or (N, C) numbers of each image, finite, N at least 1.
        candidates: by name, arrays of the same images and the same C.
        metric: name that the results carry.
        confidence: of the intervals, and 1 minus the level of the tests; strictly between 0 and 1.
        score: from means (..., C) to scores (...); None for (N,) values, whose mean is the score.
        resamples: R; no p can be below 2 / (R + 1).
        seed: of the draws.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check_confidence(confidence)
    for name, values in candidates.items():
        if values.shape != base_values.shape:
            found = (base_values.shape, values.shape)
            raise SpecError([Problem(f"candidates.{name}", "the shape of base_values", found)])
    score = score or _single_mean
    columns = [_as_columns(values) for values in (base_values, *candidates.values())]
    means = bootstrap_means(np.concatenate(columns, axis=1), resamples, seed)
    samples = [score(part) for part in np.split(means, len(columns), axis=1)]
    scores = [float(score(part.mean(axis=0))) for part in columns]
    comparisons = []
    for name, value, sampled in zip(candidates, scores[1:], samples[1:], strict=True):
        differences = sampled - samples[0]
        low, high = percentile_interval(differences, confidence)
        p = bootstrap_p(differences)
        comparison = PairedComparison(
            candidate=name,
            metric=metric,
            n=len(base_values),
            base_value=scores[0],
            candidate_value=value,
            difference=value - scores[0],
            low=low,
            high=high,
            p=p,
            p_adjusted=p,
            standard_error=float(differences.std()),
            confidence=confidence,
        )
        comparisons.append(_judged(comparison, p, tests=1))
    return tuple(comparisons)


def adjust_family(comparisons: Sequence[PairedComparison]) -> tuple[PairedComparison, ...]:
    """The same comparisons judged as one family of M tests, by Holm's adjustment.

    All comparisons that a reader looks through for "which is better" are one family: usually every candidate of one
    metric. The detectable difference becomes that of Holm's strictest step, at (1 - confidence) / M.
    """
    adjusted = holm([comparison.p for comparison in comparisons])
    return tuple(
        _judged(comparison, float(p), len(comparisons)) for comparison, p in zip(comparisons, adjusted, strict=True)
    )


def _judged(comparison: PairedComparison, p_adjusted: float, tests: int) -> PairedComparison:
    alpha = 1 - comparison.confidence
    return replace(
        comparison,
        p_adjusted=p_adjusted,
        verdict=_verdict(comparison.difference, p_adjusted, alpha),
        detectable_difference_80=_detectable(comparison, alpha / tests),
    )


def _verdict(difference: float, p_adjusted: float, alpha: float) -> Verdict:
    # 1 - 0.95 is a little more than 0.05; a p of exactly 0.05 is below it either way.
    if p_adjusted > alpha:
        return "no difference detectable"
    return "better" if difference < 0 else "worse"


def _detectable(comparison: PairedComparison, alpha: float) -> float | None:
    if comparison.only_base_wrong is not None and comparison.only_candidate_wrong is not None:
        discordant = comparison.only_base_wrong + comparison.only_candidate_wrong
        return detectable_difference(comparison.n, discordant, alpha, POWER)
    if comparison.standard_error is None:
        return None
    # The normal approximation: the mean of n differences, n large.
    return (two_sided_z(1 - alpha) + two_sided_z(2 * POWER - 1)) * comparison.standard_error


def _as_columns(values: NDArray[np.floating[Any]]) -> _Floats:
    """(N,) as (N, 1), (N, C) as it is, in float64."""
    return values.astype(np.float64, copy=False).reshape(len(values), -1)


def _single_mean(means: _Floats) -> _Floats:
    return means[..., 0]


def _check_confidence(confidence: float) -> None:
    problems = confidence_problems(confidence)
    if problems:
        raise SpecError(problems)
