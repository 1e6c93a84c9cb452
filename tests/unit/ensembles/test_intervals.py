"""Tango's interval against published values, the score equation itself, and exact coverage."""

import math
from functools import cache
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multinomial

from ensembles.errors import SpecError
from ensembles.intervals import tango_interval


@pytest.mark.parametrize(
    ("only_base", "only_candidate", "n", "confidence", "low", "high", "digits"),
    [
        # Fagerland, Lydersen & Laake 2014, table V: airway hyper-responsiveness of 21 children (Bentur et al. 2009).
        (7, 1, 21, 0.95, -0.517, -0.026, 3),
        # Agresti & Min 2005: 53, 16, 8, 9.
        (8, 16, 86, 0.95, -0.020, 0.207, 3),
        # scoreci.mp of the R package PropCIs, which gives the interval of its second count minus the first.
        (20, 60, 1000, 0.95, 0.0231, 0.0584, 4),
        (60, 20, 1000, 0.95, -0.0584, -0.0231, 4),
        (25, 28, 618, 0.90, -0.0148, 0.0247, 4),
        (41, 48, 549, 0.90, -0.0157, 0.0414, 4),
    ],
)
def test_intervals_are_the_published_ones(only_base, only_candidate, n, confidence, low, high, digits):
    found = tango_interval(only_base, only_candidate, n, confidence)
    assert tuple(round(limit, digits) for limit in found) == (low, high)


def likelihood_maximum(less, more, n, difference):
    """The cell probability of `less` that is likeliest given the difference, by golden section on the likelihood."""

    def log_likelihood(q):
        cells = ((less, q), (more, q + difference), (n - less - more, 1 - 2 * q - difference))
        return sum(count * math.log(max(p, 1e-300)) for count, p in cells if count)

    low, high = max(0.0, -difference), (1 - difference) / 2
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(200):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if log_likelihood(left) > log_likelihood(right) else (left, high)
    return (low + high) / 2


@given(st.data(), st.integers(2, 2000), st.floats(0.8, 0.99))
def test_both_limits_solve_the_score_equation(data, n, confidence):
    only_base = data.draw(st.integers(0, n))
    only_candidate = data.draw(st.integers(0, n - only_base))
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    for limit, sign in zip(tango_interval(only_base, only_candidate, n, confidence), (-1, 1), strict=True):
        if abs(limit) == 1:
            continue
        q = likelihood_maximum(only_base, only_candidate, n, limit)
        variance = 2 * q + limit * (1 - limit)
        score = (limit - (only_candidate - only_base) / n) / math.sqrt(variance / n)
        assert score == pytest.approx(sign * z, rel=1e-4)


@given(st.data(), st.integers(1, 50_000))
def test_the_interval_holds_the_difference_and_mirrors(data, n):
    only_base = data.draw(st.integers(0, n))
    only_candidate = data.draw(st.integers(0, n - only_base))
    low, high = tango_interval(only_base, only_candidate, n)
    assert -1 <= low <= (only_candidate - only_base) / n <= high <= 1
    assert low < high
    assert tango_interval(only_candidate, only_base, n) == pytest.approx((-high, -low), abs=1e-12)


@pytest.mark.parametrize("n", [1, 20, 1000, 50_000])
def test_no_discordant_image_leaves_a_width_of_its_own(n):
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert tango_interval(0, 0, n) == pytest.approx((-z2 / (n + z2), z2 / (n + z2)), rel=1e-9)


def test_every_image_discordant_on_one_side_reaches_exactly_one():
    z2 = NormalDist().inv_cdf(0.975) ** 2
    assert tango_interval(0, 30, 30) == (pytest.approx((30 - z2) / (30 + z2), rel=1e-9), 1.0)
    assert tango_interval(30, 0, 30) == (-1.0, pytest.approx(-(30 - z2) / (30 + z2), rel=1e-9))


@cache
def all_intervals(n):
    """Every table of n images: counts (T, 3), low (T,), high (T,)."""
    counts = np.array([(b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    limits = np.array([tango_interval(int(b), int(c), n) for b, c, _ in counts])
    return counts, limits[:, 0], limits[:, 1]


@pytest.mark.parametrize("discordance", [0.1, 0.2, 0.5])
@pytest.mark.parametrize("lopsided", [0.5, 0.65, 0.8])
def test_coverage_by_enumeration_of_every_table_of_60_images(discordance, lopsided):
    counts, low, high = all_intervals(60)
    only_base, only_candidate = discordance * (1 - lopsided), discordance * lopsided
    chance = multinomial.pmf(counts, 60, [only_base, only_candidate, 1 - discordance])
    true = only_candidate - only_base
    assert chance.sum() == pytest.approx(1)
    assert 0.93 <= chance[(low <= true) & (true <= high)].sum() <= 0.985


@pytest.mark.parametrize("difference", [0.0, 0.005, 0.02])
def test_coverage_of_a_thousand_images_by_simulation(difference):
    discordance, repetitions = 0.06, 3000
    chances = [(discordance - difference) / 2, (discordance + difference) / 2, 1 - discordance]
    draws = np.random.default_rng(0).multinomial(1000, chances, size=repetitions)
    tables, times = np.unique(draws[:, :2], axis=0, return_counts=True)
    limits = np.array([tango_interval(int(b), int(c), 1000) for b, c in tables])
    covered = times[(limits[:, 0] <= difference) & (difference <= limits[:, 1])].sum() / repetitions
    # 0.95 and three standard errors of the simulation, and half a point for the discreteness of counts.
    assert abs(covered - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / repetitions) + 0.005


@pytest.mark.parametrize(
    ("arguments", "fields"),
    [
        ((1, 1, 0), ["n"]),
        ((-1, 1, 10), ["only_base_wrong"]),
        ((1, 11, 10), ["only_candidate_wrong"]),
        ((6, 5, 10), ["only_base_wrong + only_candidate_wrong"]),
        ((1, 1, 10, 1.0), ["confidence"]),
        ((1.5, True, 10, 0.0), ["only_base_wrong", "only_candidate_wrong", "confidence"]),
    ],
)
def test_arguments_out_of_range_are_named(arguments, fields):
    with pytest.raises(SpecError) as caught:
        tango_interval(*arguments)
    assert [problem.field for problem in caught.value.problems] == fields
