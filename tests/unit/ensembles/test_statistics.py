import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest
from statsmodels.stats.proportion import proportion_confint

from ensembles.errors import SpecError
from ensembles.statistics import wilson_interval


@pytest.mark.parametrize(
    ("errors", "n", "low", "high", "tolerance"),
    [
        (250, 1000, 0.224153, 0.277760, 5e-7),
        (12400, 50000, 0.24423, 0.25180, 5e-6),
        # In percent with two decimals: the paper's errors on 50,000 images.
        (12400, 50000, 0.2442, 0.2518, 5e-5),
        (12200, 50000, 0.2403, 0.2478, 5e-5),
        (3750, 50000, 0.0727, 0.0773, 5e-5),
        (3550, 50000, 0.0688, 0.0733, 5e-5),
        (3400, 50000, 0.0658, 0.0702, 5e-5),
    ],
)
def test_intervals_are_the_published_ones(errors, n, low, high, tolerance):
    assert wilson_interval(errors, n) == pytest.approx((low, high), abs=tolerance)


@given(st.data(), st.integers(1, 100_000), st.floats(0.5, 0.999))
def test_intervals_agree_with_scipy(data, n, confidence):
    errors = data.draw(st.integers(0, n))
    theirs = binomtest(errors, n).proportion_ci(confidence, method="wilson")
    assert wilson_interval(errors, n, confidence) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("n", [1, 3, 7, 49, 1000, 50000])
def test_no_error_and_nothing_but_errors_reach_exactly_zero_and_one(n):
    low, high = wilson_interval(0, n)
    assert low == 0.0
    assert 0.0 < high < 1.0
    assert wilson_interval(n, n) == (pytest.approx(1 - high, abs=1e-12), 1.0)


@given(st.data(), st.integers(1, 10_000))
def test_the_interval_holds_the_rate_and_mirrors(data, n):
    errors = data.draw(st.integers(0, n))
    low, high = wilson_interval(errors, n)
    assert 0.0 <= low <= errors / n <= high <= 1.0
    assert wilson_interval(n - errors, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_more_confidence_widens_the_interval():
    narrow, wide = wilson_interval(30, 100, 0.9), wilson_interval(30, 100, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((0, 0), "n"),
        ((0, -1), "n"),
        ((1, 2.0), "n"),
        ((-1, 10), "errors"),
        ((11, 10), "errors"),
        ((2.5, 10), "errors"),
        ((1, 10, 0.0), "confidence"),
        ((1, 10, 1.0), "confidence"),
        ((1, 10, float("nan")), "confidence"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, field):
    with pytest.raises(SpecError) as caught:
        wilson_interval(*arguments)
    assert [problem.field for problem in caught.value.problems] == [field]


@given(st.data(), st.integers(1, 100_000), st.floats(0.5, 0.999))
def test_intervals_agree_with_statsmodels(data, n, confidence):
    errors = data.draw(st.integers(0, n))
    theirs = proportion_confint(errors, n, alpha=1 - confidence, method="wilson")
    assert wilson_interval(errors, n, confidence) == pytest.approx(theirs, abs=1e-12)


@pytest.mark.parametrize("n", [1000, 1797, 5000])
def test_95_of_100_intervals_hold_the_true_rate_by_enumeration(n):
    low, high = np.array([wilson_interval(errors, n) for errors in range(n + 1)]).T
    for rate in [*np.linspace(0.02, 0.98, 97), 0.0725, 0.248]:
        coverage = binom.pmf(np.flatnonzero((low <= rate) & (rate <= high)), n, rate).sum()
        assert 0.93 <= coverage <= 0.97, rate
