"""Tango's score interval for the difference of two error rates measured on the same images."""

from __future__ import annotations

import math

from scipy.optimize import brentq

from ensembles.errors import SpecError
from ensembles.statistics import confidence_problems, count_problems, two_sided_z

#: Distance from the estimate at which the search for a limit begins. There the score is 0, or 0/0 where the observed
#: variance is 0; a limit closer than this would need more than 10^12 images.
_NUDGE = 1e-13


def tango_interval(
    only_base_wrong: int, only_candidate_wrong: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Score interval of the candidate's error rate minus the base's (Tango 1998, Statistics in Medicine 17:891).

    The differences that a score test of paired proportions does not reject. Unlike Wald's interval it keeps its
    coverage where few images are answered differently, has a width where none is, and stays within [-1, 1].

    Args:
        only_base_wrong: images that the candidate alone answers rightly.
        only_candidate_wrong: images that the base alone answers rightly.
        n: images scored by both, at least 1.
        confidence: coverage, strictly between 0 and 1.

    Returns:
        (low, high), fractions; negative differences favour the candidate.

    Raises:
        SpecError: an argument breaks its rule.
    """
    counts = {"only_base_wrong": only_base_wrong, "only_candidate_wrong": only_candidate_wrong}
    problems = count_problems(n, **counts) + confidence_problems(confidence)
    if problems:
        raise SpecError(problems)
    z = two_sided_z(confidence)
    return -_upper_limit(only_base_wrong, only_candidate_wrong, n, z), _upper_limit(
        only_candidate_wrong, only_base_wrong, n, z
    )


def _upper_limit(more: int, less: int, n: int, z: float) -> float:
    """The largest difference of (more - less) / n that the score test at +-z does not reject."""
    estimate = (more - less) / n
    if more == n:
        return 1.0

    def excess(difference: float) -> float:
        """How far z standard errors reach beyond the distance from the estimate; it changes sign once, at the limit."""
        variance = 2 * _restricted_less(more, less, n, difference) + difference * (1 - difference)
        return z * math.sqrt(max(variance, 0.0) / n) - (difference - estimate)

    return float(brentq(excess, estimate + _NUDGE, 1.0, xtol=1e-14))


def _restricted_less(more: int, less: int, n: int, difference: float) -> float:
    """The likeliest probability of the cell counted by `less`, given the difference: the root of a quadratic."""
    b = (2 * n - more + less) * difference - more - less
    c = -less * difference * (1 - difference)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    # The form without cancellation for either sign of b.
    return (root - b) / (4 * n) if b <= 0 else -2 * c / (b + root)
