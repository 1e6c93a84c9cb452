"""What a paired test of n images can and cannot find: its power, and the smallest difference it would notice."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv
from scipy.stats import binom

from ensembles.errors import Problem, SpecError
from ensembles.statistics import confidence_problems, count_problems

#: Standard deviations of the number of discordant images that the sum over it covers on either side.
_REACH = 5.0

_Floats = NDArray[np.float64]


def paired_power(n: int, discordance: float, difference: float, alpha: float = 0.05) -> float:
    """The chance that the exact McNemar test at level `alpha` finds a true difference of two error rates.

    Over the binomial number of discordant images, the chance that their split falls where the test rejects: exact while
    some hundreds are expected, and to 0.001 beyond.

    Args:
        n: images scored by both, at least 1.
        discordance: share of images that exactly one of the two answers wrongly, in [0, 1].
        difference: of the error rates, a fraction; its sign does not matter and its size is at most `discordance`.
        alpha: strictly between 0 and 1.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = count_problems(n) + confidence_problems(alpha, "alpha")
    if not 0 <= discordance <= 1:
        problems.append(Problem("discordance", "from 0 to 1", discordance))
    elif not abs(difference) <= discordance:
        problems.append(Problem("difference", f"of a size of at most the discordance, {discordance}", difference))
    if problems:
        raise SpecError(problems)
    if not discordance:
        return 0.0
    counts, weights, limits = _splits(n, discordance, alpha)
    return float(weights @ _rejected(counts, limits, 0.5 * (1 + difference / discordance)))


def detectable_difference(n: int, discordant: int, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """The smallest difference of two error rates that the exact McNemar test finds with the chance `power`.

    The true share of discordant images is taken to be the observed one, or the difference itself where that is more: a
    difference cannot be larger than the share, and no discordant image among n does not mean that none exists.

    Args:
        n: images scored by both, at least 1.
        discordant: images that exactly one of the two answers wrongly, 0..n.
        alpha: level of the test; of the strictest step, alpha / M, where M tests share the level.
        power: strictly between `alpha` and 1.

    Returns:
        A fraction above 0; None where so few images could not show any difference, not even one of 100 %.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = count_problems(n, discordant=discordant) + confidence_problems(alpha, "alpha")
    if not problems and not alpha < power < 1:
        problems.append(Problem("power", f"above alpha = {alpha} and below 1", power))
    if problems:
        raise SpecError(problems)

    # With every discordant image on one side, the test rejects from this many on: 2 / 2^d <= alpha.
    needed = math.ceil(1 - math.log2(alpha))
    if n < needed:
        return None
    # A binomial tail is an incomplete beta function; its inverse is the share at which `needed` are likely enough.
    one_sided = float(betaincinv(needed, n - needed + 1, power))
    # At equality both ways give the same; the margin keeps rounding from choosing the one that then finds no root.
    if one_sided * (1 + 1e-6) >= discordant / n:
        return one_sided
    counts, weights, limits = _splits(n, discordant / n, alpha)

    def shortfall(difference: float) -> float:
        return power - float(weights @ _rejected(counts, limits, 0.5 * (1 + difference * n / discordant)))

    # A hundredth of an image is as fine as anyone can use it.
    return float(brentq(shortfall, 0.0, discordant / n, xtol=0.01 / n))


def _splits(n: int, discordance: float, alpha: float) -> tuple[_Floats, _Floats, _Floats]:
    """Likely numbers of discordant images, their probabilities, and what the test rejects: at most the limit of one.

    Where hundreds of numbers are likely, every s-th of them is taken. What is summed over them alternates between even
    and odd numbers and is otherwise smooth but for small steps, so that an odd s much smaller than the spread changes
    the power by less than 0.001.
    """
    spread = math.sqrt(n * discordance * (1 - discordance))
    step = max(1, int(spread / 16)) | 1
    first = max(0, math.floor(n * discordance - _REACH * spread) - 5)
    last = min(n, math.ceil(n * discordance + _REACH * spread) + 5)
    counts = np.arange(first, last + 1, step, dtype=np.float64)
    weights = np.asarray(binom.pmf(counts, n, discordance))
    quantiles = np.asarray(binom.ppf(alpha / 2, counts, 0.5))
    limits = quantiles - (2 * binom.cdf(quantiles, counts, 0.5) > alpha)
    return counts, weights / weights.sum(), limits


def _rejected(counts: _Floats, limits: _Floats, share: float) -> _Floats:
    """The chance that one of two counts that add up to `counts` is at most its limit, the first binomial(`share`)."""
    return np.where(
        limits < 0,
        0.0,
        # P(X <= k) of a binomial X is an incomplete beta function.
        betainc(counts - limits, limits + 1, 1 - share) + betainc(counts - limits, limits + 1, share),
    )
