"""McNemar's test against published values, exact fractions, statsmodels, and its own error rate."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from ensembles.errors import SpecError
from ensembles.mcnemar import PairedCounts, discordant_matrix, mcnemar_exact, mcnemar_mid_p, paired_counts


@pytest.mark.parametrize(
    ("only_base", "only_candidate", "p"),
    [(10, 2, 0.0385742), (120, 80, 0.00568516), (1300, 1200, 0.0476819), (5, 0, 0.0625), (0, 5, 0.0625), (0, 0, 1.0)],
)
def test_exact_p_of_published_counts(only_base, only_candidate, p):
    assert float(mcnemar_exact(only_base, only_candidate)) == pytest.approx(p, rel=1e-5)


def test_mid_p_of_published_counts():
    assert float(mcnemar_mid_p(10, 2)) == pytest.approx(0.0224609, rel=1e-5)
    assert float(mcnemar_mid_p(0, 0)) == 1.0


@given(st.integers(0, 40), st.integers(0, 40))
def test_p_values_are_the_sums_over_all_splits_in_fractions(only_base, only_candidate):
    discordant = only_base + only_candidate
    chances = [Fraction(comb(discordant, k), 2**discordant) for k in range(discordant + 1)]
    observed = abs(only_base - only_candidate)
    further = sum((p for k, p in enumerate(chances) if abs(2 * k - discordant) > observed), Fraction(0))
    equal = sum((p for k, p in enumerate(chances) if abs(2 * k - discordant) == observed), Fraction(0))
    assert float(mcnemar_exact(only_base, only_candidate)) == pytest.approx(float(further + equal), rel=1e-12)
    if discordant:
        assert float(mcnemar_mid_p(only_base, only_candidate)) == pytest.approx(float(further + equal / 2), rel=1e-9)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_exact_p_agrees_with_statsmodels(only_base, only_candidate):
    theirs = statsmodels_mcnemar([[7, only_base], [only_candidate, 9]], exact=True).pvalue
    assert float(mcnemar_exact(only_base, only_candidate)) == pytest.approx(theirs, rel=1e-9, abs=1e-300)


def test_arrays_of_counts_are_answered_element_by_element():
    only_base, only_candidate = np.array([[10, 120], [5, 0]]), np.array([[2, 80], [0, 0]])
    for test in (mcnemar_exact, mcnemar_mid_p):
        found = test(only_base, only_candidate)
        assert found.shape == (2, 2)
        assert found[0, 1] == test(120, 80)
        assert found[1, 1] == 1.0


@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("n", [200, 1000, 5000])
def test_equal_classifiers_are_called_different_at_most_5_in_100_times_by_enumeration(n, discordance):
    discordant = np.arange(binom.ppf(1e-9, n, discordance), binom.ppf(1 - 1e-9, n, discordance) + 1, dtype=np.int64)
    false_positives = 0.0
    for total, chance in zip(discordant.tolist(), binom.pmf(discordant, n, discordance), strict=True):
        split = np.arange(total + 1)
        rejected = mcnemar_exact(split, total - split) <= 0.05
        false_positives += chance * binom.pmf(split[rejected], total, 0.5).sum()
    assert false_positives <= 0.05
    if n * discordance >= 50:  # and the test is not idle either
        assert false_positives >= 0.03


@pytest.mark.parametrize("only", ["only_base", "only_candidate"])
def test_negative_counts_are_refused(only):
    counts = {"only_base": 3, "only_candidate": 3, only: -1}
    with pytest.raises(SpecError, match="at least 0; got -1"):
        mcnemar_exact(counts["only_base"], counts["only_candidate"])


def test_images_are_counted_by_who_is_wrong():
    base = np.array([True, True, True, False, False, False, False])
    candidate = np.array([True, False, False, True, False, False, False])
    counts = paired_counts(base, candidate)
    assert counts == PairedCounts(both_wrong=1, only_base_wrong=2, only_candidate_wrong=1, both_right=3)
    assert (counts.n, counts.discordant) == (7, 3)


@pytest.mark.parametrize(
    ("base", "candidate"),
    [
        (np.array([True]), np.array([True, False])),
        (np.array([1, 0]), np.array([True, False])),
        (np.array([[True]]), np.array([[True]])),
        (np.array([], dtype=bool), np.array([], dtype=bool)),
    ],
    ids=["lengths", "integers", "two-dimensional", "no image"],
)
def test_outcomes_that_are_not_of_the_same_images_are_refused(base, candidate):
    with pytest.raises(SpecError, match=r"^candidate_wrong: "):
        paired_counts(base, candidate)


def test_the_discordant_matrix_holds_the_counts_of_every_pair(monkeypatch):
    wrong = np.random.default_rng(3).random((5, 700)) < 0.3
    monkeypatch.setattr("ensembles.mcnemar._BLOCK_IMAGES", 64)  # several blocks, the last one shorter
    matrix = discordant_matrix(wrong)
    for i in range(5):
        for j in range(5):
            counts = paired_counts(wrong[i], wrong[j])
            assert (matrix[i, j], matrix[j, i]) == (counts.only_base_wrong, counts.only_candidate_wrong)


@pytest.mark.parametrize(
    ("b", "c", "chi_squared", "p_chi_squared"),
    [(10, 2, 5.3333, None), (120, 80, 8.0, 0.00467773), (1300, 1200, 4.0, 0.0455003)],
)
def test_the_exact_test_asks_for_more_than_the_uncorrected_chi_squared(
    b: int, c: int, chi_squared: float, p_chi_squared: float | None
) -> None:
    oracle = statsmodels_mcnemar([[0, b], [c, 0]], exact=False, correction=False)
    assert oracle.statistic == pytest.approx(chi_squared, rel=1e-4)
    if p_chi_squared is not None:
        assert oracle.pvalue == pytest.approx(p_chi_squared, rel=1e-5)
    assert float(mcnemar_exact(b, c)) > oracle.pvalue


def test_the_corrected_chi_squared_of_ten_to_two_is_the_published_one() -> None:
    assert statsmodels_mcnemar([[0, 10], [2, 0]], exact=False, correction=True).statistic == pytest.approx(
        4.0833, rel=1e-4
    )
