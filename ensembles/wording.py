"""Paired comparisons in words, with no more digits than they deserve."""

from __future__ import annotations

import math

from ensembles.paired import PairedComparison


def describe(comparison: PairedComparison) -> str:
    """One sentence without a subject, for after a name: what was found, or what could not have been.

    The candidate is what is "better" or "worse". A difference below the detectable one is missed in more than one of
    five repetitions.
    """
    images = f"at n = {comparison.n:,}"
    detectable = comparison.detectable_difference_80
    if comparison.verdict == "no difference detectable":
        if detectable is None:
            return f"{comparison.verdict} {images}: so few images cannot show any"
        missed = quantity(detectable, comparison.metric)
        return f"{comparison.verdict} {images}: differences under {missed} would be missed"
    sign = -1 if comparison.verdict == "better" else 1
    low, high = sorted((sign * comparison.low, sign * comparison.high))
    size = quantity(abs(comparison.difference), comparison.metric)
    limits = f"{_number(_scaled(low, comparison.metric))} to {_number(_scaled(high, comparison.metric))}"
    return (
        f"{comparison.verdict} by {size} {images} "
        f"({100 * comparison.confidence:g} % interval {limits}, {p_in_words(comparison.p_adjusted)})"
    )


def quantity(value: float, metric: str) -> str:
    """A difference of a metric with its unit: errors in points (hundredths), negative log-likelihood in nats."""
    unit = " points" if _is_error(metric) else " nats" if metric == "nll" else ""
    return _number(_scaled(value, metric)) + unit


def p_in_words(p: float) -> str:
    """`p = 0.004`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _is_error(metric: str) -> bool:
    return metric.endswith("_error")


def _scaled(value: float, metric: str) -> float:
    return 100 * value if _is_error(metric) else value


def _number(value: float) -> str:
    """Two significant digits, never in powers of ten."""
    decimals = 1 if value == 0 else max(0, 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"
