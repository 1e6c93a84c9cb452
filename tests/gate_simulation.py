"""Verdicts of gates over many made-up pairs at once, by other means than the library's: its witness, and its power."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from ensembles.gates import GateRule

PAIRS = 2000
Counts = NDArray[np.int64]


def decided(only_base: Counts, only_candidate: Counts, n: int, rule: GateRule) -> NDArray[np.str_]:
    """Verdicts of many pairs at once, by other means: the score test at the margin, and a binomial tail.

    Tango (1998): the variance under the hypothesis takes the likeliest share of images that only the baseline misses.
    """
    b, c = only_base.astype(np.float64), only_candidate.astype(np.float64)
    linear = (2 * n - c + b) * rule.margin - c - b
    root = np.sqrt(np.maximum(linear**2 + 8 * n * b * rule.margin * (1 - rule.margin), 0))
    variance = 2 * (root - linear) / (4 * n) + rule.margin * (1 - rule.margin)
    z = (rule.margin - (c - b) / n) / np.sqrt(np.maximum(variance, 1e-300) / n)
    worse = binom.sf(c - 1, b + c, 0.5) <= rule.alpha
    return np.where(z > norm.ppf(1 - rule.alpha), "pass", np.where(worse, "fail", "inconclusive"))


def simulated(
    n: int, discordance: float, difference: float, rule: GateRule, seed: int
) -> tuple[Counts, Counts, NDArray[np.str_]]:
    """Pairs whose true error rates differ by `difference`: their discordant images and verdicts."""
    only_candidate, only_base = (discordance + difference) / 2, (discordance - difference) / 2
    draws = np.random.default_rng(seed).multinomial(
        n, [only_base, only_candidate, 1 - only_base - only_candidate], size=PAIRS
    )
    return draws[:, 0], draws[:, 1], decided(draws[:, 0], draws[:, 1], n, rule)
