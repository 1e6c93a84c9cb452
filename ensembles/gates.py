"""Whether a candidate may replace a baseline: pass, fail or inconclusive, from answers to the same images.

A fixed threshold on a measured error trips by chance, gets loosened, and is blind in the end. A gate states its margin
(how much worse a candidate may truly be) and its error rates, and says "inconclusive" where the images do not tell:

* **pass**: it is shown that the candidate is worse by less than the margin (non-inferiority). Where the true difference
  is the margin or more, this happens with a chance of at most alpha.
* **fail**: it is shown that the candidate is worse, and not that it is within the margin. Where it is truly no worse,
  this happens with a chance of at most alpha.
* **inconclusive**: neither; more images are needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from ensembles.errors import Problem, SpecError
from ensembles.intervals import tango_interval
from ensembles.mcnemar import paired_counts
from ensembles.paired import compare_values
from ensembles.power import detectable_difference
from ensembles.statistics import count_problems, two_sided_z
from ensembles.wording import p_in_words, quantity

GateVerdict = Literal["pass", "fail", "inconclusive"]
GateMetric = Literal["top1_error", "top5_error", "nll"]

METRICS: tuple[GateMetric, ...] = ("top1_error", "top5_error", "nll")
#: Chance of a verdict at the difference that a gate asks about when it is told how many images would settle it.
POWER = 0.8


@dataclass(frozen=True)
class GateRule:
    """What is asked.

    Attributes:
        metric: lower is better in all of them.
        margin: how much worse the candidate may be: a fraction for errors (0.005 is half a point), nats for "nll";
            0 asks for proof that it is better.
        alpha: of each of the two one-sided tests.
    """

    metric: GateMetric = "top1_error"
    margin: float = 0.005
    alpha: float = 0.05

    def __post_init__(self) -> None:
        problems = []
        if self.metric not in METRICS:
            problems.append(Problem("metric", f"one of {', '.join(METRICS)}", self.metric))
        top = math.inf if self.metric == "nll" else 1.0
        if not (isinstance(self.margin, int | float) and 0 <= self.margin < top):
            unit = (
                "nats, at least 0" if self.metric == "nll" else "a fraction from 0 to below 1 (0.005 is half a point)"
            )
            problems.append(Problem("margin", unit, self.margin))
        if not (isinstance(self.alpha, float) and 0 < self.alpha < 0.5):
            problems.append(Problem("alpha", "above 0 and below 0.5", self.alpha))
        if problems:
            raise SpecError(problems)

    @property
    def confidence(self) -> float:
        """Of the two-sided interval whose ends are the limits of the two tests."""
        return 1 - 2 * self.alpha


@dataclass(frozen=True)
class GateResult:
    """What was found.

    Attributes:
        verdict: see the module.
        rule: what was asked.
        difference: candidate minus baseline, on these images; negative favours the candidate.
        low: lower end of the interval of confidence 1 - 2 alpha.
        high: upper end; below the margin it is a pass.
        p_worse: one-sided p of "the candidate is no worse"; at most alpha it is worse.
        n: images that both answered.
        only_base_wrong: images that the candidate alone answers rightly; None for "nll".
        only_candidate_wrong: images that the baseline alone answers rightly; None for "nll".
        detectable_difference_80: of a two-sided test at 2 alpha, with 80 % power; None where n is too small for any.
        images_to_settle: about how many images in all would give a verdict with 80 % power or more, should difference
            and discordance stay as observed; None where there is a verdict, or no number would do.
        reason: one sentence.
    """

    verdict: GateVerdict
    rule: GateRule
    difference: float
    low: float
    high: float
    p_worse: float
    n: int
    only_base_wrong: int | None
    only_candidate_wrong: int | None
    detectable_difference_80: float | None
    images_to_settle: int | None
    reason: str


def judge_errors(
    base_wrong: NDArray[np.bool_], candidate_wrong: NDArray[np.bool_], rule: GateRule | None = None
) -> GateResult:
    """Judge two error rates.

    Args:
        base_wrong: (N,) True where the baseline is wrong, N at least 1.
        candidate_wrong: (N,), of the same images.
        rule: top-1 error, half a point, 5 % by default.

    Raises:
        SpecError: an argument breaks its rule.
    """
    counts = paired_counts(base_wrong, candidate_wrong)
    return judge_counts(counts.only_base_wrong, counts.only_candidate_wrong, counts.n, rule)


def judge_counts(only_base_wrong: int, only_candidate_wrong: int, n: int, rule: GateRule | None = None) -> GateResult:
    """Judge two error rates by their discordant images, which is all that tells them apart.

    The limit against the margin is Tango's score limit; that the candidate is worse is the exact McNemar test.

    Args:
        only_base_wrong: images that the candidate alone answers rightly.
        only_candidate_wrong: images that the baseline alone answers rightly.
        n: images that both answered, at least 1.
        rule: top-1 error, half a point, 5 % by default.

    Raises:
        SpecError: an argument breaks its rule.
    """
    rule = rule or GateRule()
    problems = count_problems(n, only_base_wrong=only_base_wrong, only_candidate_wrong=only_candidate_wrong)
    if rule.metric == "nll":
        problems.append(Problem("metric", "an error; use judge_values for nll", rule.metric))
    if problems:
        raise SpecError(problems)
    discordant = only_base_wrong + only_candidate_wrong
    difference = (only_candidate_wrong - only_base_wrong) / n
    low, high = tango_interval(only_base_wrong, only_candidate_wrong, n, rule.confidence)
    p_worse = float(binom.sf(only_candidate_wrong - 1, discordant, 0.5))
    variance = discordant / n - difference**2
    # Without a discordant image the score limit is z^2 / (n + z^2): still as if something could differ.
    return _result(
        rule,
        difference,
        (low, high),
        p_worse,
        n,
        variance if discordant else rule.margin,
        only_base_wrong=only_base_wrong,
        only_candidate_wrong=only_candidate_wrong,
        detectable=detectable_difference(n, discordant, 2 * rule.alpha, POWER),
    )


def judge_values(
    base_values: NDArray[np.floating[Any]], candidate_values: NDArray[np.floating[Any]], rule: GateRule, seed: int = 0
) -> GateResult:
    """Judge two means over images, such as negative log-likelihoods, by the paired bootstrap.

    Args:
        base_values: (N,) finite numbers of each image, N at least 1.
        candidate_values: (N,), of the same images.
        rule: what is asked.
        seed: of the resampling.

    Raises:
        SpecError: an argument breaks its rule.
    """
    (found,) = compare_values(
        base_values, {"candidate": candidate_values}, metric=rule.metric, confidence=rule.confidence, seed=seed
    )
    differences = candidate_values.astype(np.float64) - base_values
    # Half of the two-sided p on the side of the estimate, so that p and the interval's end agree.
    p_worse = found.p / 2 if found.difference > 0 else 1 - found.p / 2
    return _result(
        rule,
        found.difference,
        (found.low, found.high),
        p_worse,
        found.n,
        float(differences.var()),
        detectable=found.detectable_difference_80,
    )


def _result(
    rule: GateRule,
    difference: float,
    interval: tuple[float, float],
    p_worse: float,
    n: int,
    variance: float,
    *,
    detectable: float | None,
    only_base_wrong: int | None = None,
    only_candidate_wrong: int | None = None,
) -> GateResult:
    low, high = interval
    verdict: GateVerdict = "pass" if high < rule.margin else "fail" if p_worse <= rule.alpha else "inconclusive"
    needed = None if verdict != "inconclusive" else _images_to_settle(rule, difference, variance, n)
    return GateResult(
        verdict=verdict,
        rule=rule,
        difference=difference,
        low=low,
        high=high,
        p_worse=p_worse,
        n=n,
        only_base_wrong=only_base_wrong,
        only_candidate_wrong=only_candidate_wrong,
        detectable_difference_80=detectable,
        images_to_settle=needed,
        reason=_reason(rule, verdict, difference, interval, p_worse, needed),
    )


def _images_to_settle(rule: GateRule, difference: float, variance: float, n: int) -> int | None:
    """By the normal approximation; more than there are, since these did not do."""
    reach = two_sided_z(rule.confidence) + two_sided_z(2 * POWER - 1)
    distances = [distance for distance in (rule.margin - difference, difference) if distance > 0]
    if not distances or variance <= 0:
        return None
    return max(n + 1, math.ceil(variance * (reach / max(distances)) ** 2))


def _reason(
    rule: GateRule,
    verdict: GateVerdict,
    difference: float,
    interval: tuple[float, float],
    p_worse: float,
    needed: int | None,
) -> str:
    margin = quantity(rule.margin, rule.metric)
    sure = f"{100 * (1 - rule.alpha):g} % confidence"
    if verdict == "pass":
        if interval[1] <= 0:
            return f"better: by {quantity(-interval[1], rule.metric)} or more at {sure}"
        return f"worse by at most {quantity(interval[1], rule.metric)} at {sure}; the margin is {margin}"
    if verdict == "fail":
        size = quantity(difference, rule.metric)
        return f"worse by {size} ({p_in_words(p_worse)}), and not shown to be within the margin of {margin}"
    most = quantity(interval[1], rule.metric)
    settled = f"; about {needed:,} images would settle a difference as observed" if needed else ""
    return f"not shown to be worse, and it may be worse by up to {most}; the margin is {margin}{settled}"
