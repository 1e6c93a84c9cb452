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
    problems = []
    if not is_whole_number(n) or n < 1:
        problems.append(Problem("n", "a whole number of at least 1", n))
    elif not is_whole_number(errors) or not 0 <= errors <= n:
        problems.append(Problem("errors", f"a whole number from 0 to n = {n}", errors))
    if not 0 < confidence < 1:
        problems.append(Problem("confidence", "above 0 and below 1", confidence))
    if problems:
        raise SpecError(problems)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = errors / n
    center = rate + z * z / (2 * n)
    half_width = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At both ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if errors == 0 else (center - half_width) / scale
    high = 1.0 if errors == n else (center + half_width) / scale
    return low, high
