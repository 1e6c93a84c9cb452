"""How far a measured error can be from the true one."""

from __future__ import annotations

import math
from statistics import NormalDist

from ensembles.errors import Problem, SpecError
from ensembles.specs import is_whole_number


def wilson_interval(errors: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of an error rate (Wilson 1927), without continuity correction.

    Args:
        errors: images answered wrongly, 0..n.
        n: images scored, at least 1.
        confidence: coverage, strictly between 0 and 1.

    Returns:
        (low, high), fractions in [0, 1]; low is exactly 0 for no error, high exactly 1 for nothing but errors.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = count_problems(n, errors=errors) + confidence_problems(confidence)
    if problems:
        raise SpecError(problems)
    z = two_sided_z(confidence)
    rate = errors / n
    center = rate + z * z / (2 * n)
    half_width = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At both ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if errors == 0 else (center - half_width) / scale
    high = 1.0 if errors == n else (center + half_width) / scale
    return low, high


def two_sided_z(confidence: float) -> float:
    """The z with P(-z < Z < z) = confidence for a standard normal Z; 1.96 for 95 %."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def count_problems(n: int, **counts: int) -> list[Problem]:
    """Problems of `n` images, at least 1, and of counts among them; the counts exclude one another."""
    if not is_whole_number(n) or n < 1:
        return [Problem("n", "a whole number of at least 1", n)]
    problems = [
        Problem(name, f"a whole number from 0 to n = {n}", count)
        for name, count in counts.items()
        if not is_whole_number(count) or not 0 <= count <= n
    ]
    if not problems and sum(counts.values()) > n:
        problems.append(Problem(" + ".join(counts), f"at most n = {n}", sum(counts.values())))
    return problems


def confidence_problems(confidence: float, field: str = "confidence") -> list[Problem]:
    """Problems of a probability that must be strictly between 0 and 1."""
    return [] if 0 < confidence < 1 else [Problem(field, "above 0 and below 1", confidence)]
