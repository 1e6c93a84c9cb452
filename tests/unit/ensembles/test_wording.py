from dataclasses import replace

import numpy as np
import pytest

from ensembles.paired import PairedComparison, compare_paired
from ensembles.wording import describe, p_in_words, quantity


def comparison(both, only_base, only_candidate, neither, **changes):
    base = np.repeat([True, True, False, False], [both, only_base, only_candidate, neither])
    candidate = np.repeat([True, False, True, False], [both, only_base, only_candidate, neither])
    return replace(compare_paired(base, candidate), **changes)


def test_a_finding_names_its_size_interval_and_p():
    assert describe(comparison(100, 120, 80, 700)) == (
        "better by 4.0 points at n = 1,000 (95 % interval 1.2 to 6.8, p = 0.006)"
    )
    assert describe(comparison(100, 80, 120, 700)) == (
        "worse by 4.0 points at n = 1,000 (95 % interval 1.2 to 6.8, p = 0.006)"
    )


def test_no_finding_names_what_would_be_missed():
    assert describe(comparison(100, 22, 20, 858)) == (
        "no difference detectable at n = 1,000: differences under 1.9 points would be missed"
    )


def test_an_exact_p_above_the_interval_shows_both_sides_of_zero():
    found = comparison(0, 8, 1, 91, low=-0.13, high=0.002)
    assert describe(found) == "better by 7.0 points at n = 100 (95 % interval -0.20 to 13, p = 0.039)"


def test_too_few_images_say_so():
    assert describe(comparison(0, 2, 0, 3)) == "no difference detectable at n = 5: so few images cannot show any"


def test_metrics_other_than_errors_have_their_own_units():
    found = PairedComparison(
        "c", "nll", 50_000, 0.9, 0.912, 0.012, 0.004, 0.02, 0.0004, 0.0008, verdict="worse", confidence=0.99
    )
    assert describe(found) == "worse by 0.012 nats at n = 50,000 (99 % interval 0.0040 to 0.020, p < 0.001)"


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.25, "25 points"), (0.019531, "2.0 points"), (0.00179, "0.18 points"), (0.0, "0.0 points"), (1.0, "100 points")],
)
def test_quantities_have_two_significant_digits_and_no_powers_of_ten(value, words):
    assert quantity(value, "top1_error") == words


def test_units_follow_the_metric():
    assert [quantity(0.0123, metric) for metric in ("nll", "brier", "ece")] == ["0.012 nats", "0.012", "0.012"]


def test_p_values_have_three_decimals():
    assert [p_in_words(p) for p in (1.0, 0.0385742, 0.001, 0.00099)] == [
        "p = 1.000",
        "p = 0.039",
        "p = 0.001",
        "p < 0.001",
    ]
