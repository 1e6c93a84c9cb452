"""Verdicts of gates: error rates by simulation, limits by hand, and sentences that say what was found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from ensembles.errors import SpecError
from ensembles.gates import GateMetric, GateRule, judge_counts, judge_errors, judge_values
from ensembles.intervals import tango_interval
from tests.gate_simulation import PAIRS, Counts, simulated

#: Three standard errors of a share of 5 % among 2,000 pairs.
MONTE_CARLO = 3 * math.sqrt(0.05 * 0.95 / PAIRS)
HALF_A_POINT = GateRule("top1_error", 0.005)


def share(results: tuple[Counts, Counts, NDArray[np.str_]], verdict: str) -> float:
    return float((results[2] == verdict).mean())


@pytest.mark.parametrize("n", [400, 1000, 10_000, 50_000])
@pytest.mark.parametrize("margin", [0.0, 0.005, 0.02])
def test_a_verdict_is_that_of_the_score_test_and_the_binomial_tail(n: int, margin: float) -> None:
    rule = GateRule("top1_error", margin)
    only_base, only_candidate, expected = simulated(n, 0.05, margin / 2, rule, seed=n)
    for row in range(25):
        assert judge_counts(int(only_base[row]), int(only_candidate[row]), n, rule).verdict == expected[row]


@pytest.mark.parametrize("n", [1000, 10_000])
@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.10])
def test_equal_error_fails_at_most_as_often_as_alpha(discordance: float, n: int) -> None:
    assert share(simulated(n, discordance, 0.0, HALF_A_POINT, seed=1), "fail") <= 0.05 + MONTE_CARLO


@pytest.mark.parametrize("n", [1000, 10_000])
@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.10])
def test_a_candidate_worse_by_exactly_the_margin_passes_at_most_as_often_as_alpha(discordance: float, n: int) -> None:
    assert share(simulated(n, discordance, 0.005, HALF_A_POINT, seed=2), "pass") <= 0.05 + MONTE_CARLO


def test_a_gate_that_ignored_its_margin_or_its_alpha_would_be_found_out() -> None:
    only_base, only_candidate, _ = simulated(1000, 0.05, 0.005, HALF_A_POINT, seed=2)
    assert ((only_candidate - only_base) / 1000 < 0.005).mean() > 0.3
    only_base, only_candidate, _ = simulated(1000, 0.05, 0.0, HALF_A_POINT, seed=1)
    assert (only_candidate > only_base).mean() > 0.3


def test_with_enough_images_equal_error_passes_and_a_loss_of_two_margins_fails() -> None:
    assert share(simulated(50_000, 0.05, 0.0, HALF_A_POINT, seed=3), "pass") > 0.99
    assert share(simulated(50_000, 0.05, 0.01, HALF_A_POINT, seed=4), "fail") > 0.99
    assert share(simulated(300, 0.05, 0.0, HALF_A_POINT, seed=5), "inconclusive") > 0.8


def test_a_pass_is_tangos_upper_limit_below_the_margin() -> None:
    low, high = tango_interval(120, 130, 10_000, 0.9)
    found = judge_counts(120, 130, 10_000, GateRule("top1_error", high + 1e-9))
    assert (found.verdict, found.low, found.high) == ("pass", low, high)
    assert judge_counts(120, 130, 10_000, GateRule("top1_error", high)).verdict == "inconclusive"


def test_worse_is_the_exact_one_sided_mcnemar_test() -> None:
    for only_base, only_candidate in ((10, 20), (10, 21), (0, 5), (0, 4), (7, 7), (20, 10)):
        expected = binomtest(only_candidate, only_base + only_candidate, 0.5, alternative="greater").pvalue
        found = judge_counts(only_base, only_candidate, 1000, GateRule("top1_error", 0.0))
        assert found.p_worse == pytest.approx(expected, rel=1e-12)
        assert (found.verdict == "fail") == (expected <= 0.05)


def test_equal_answers_pass_once_the_images_suffice() -> None:
    z2 = 1.6448536269514722**2
    enough = math.floor(z2 * 0.995 / 0.005) + 1
    assert judge_counts(0, 0, enough, HALF_A_POINT).verdict == "pass"
    short = judge_counts(0, 0, enough - 1, HALF_A_POINT)
    assert short.verdict == "inconclusive"
    assert short.images_to_settle is not None


def test_no_margin_asks_for_proof_of_being_better() -> None:
    rule = GateRule("top1_error", 0.0)
    assert judge_counts(60, 20, 1000, rule).verdict == "pass"
    assert judge_counts(40, 38, 1000, rule).verdict == "inconclusive"
    assert judge_counts(20, 60, 1000, rule).verdict == "fail"


def test_the_number_of_images_that_would_settle_it_mostly_does() -> None:
    needed = judge_counts(25, 25, 1000, HALF_A_POINT).images_to_settle
    assert needed is not None
    assert needed > 1000
    assert share(simulated(needed, 0.05, 0.0, HALF_A_POINT, seed=6), "pass") == pytest.approx(0.8, abs=0.04)
    # Where it may end either way, at least as often.
    needed = judge_counts(24, 26, 1000, HALF_A_POINT).images_to_settle
    assert needed is not None
    assert share(simulated(needed, 0.05, 0.002, HALF_A_POINT, seed=7), "inconclusive") < 0.2


def test_arrays_and_counts_give_the_same() -> None:
    base = np.zeros(1000, dtype=np.bool_)
    candidate = base.copy()
    base[:40], candidate[30:60] = True, True
    assert judge_errors(base, candidate, HALF_A_POINT) == judge_counts(30, 20, 1000, HALF_A_POINT)


def test_nll_is_judged_by_the_paired_bootstrap() -> None:
    rng = np.random.default_rng(0)
    base = rng.gamma(1.0, 1.0, 4000)
    rule = GateRule("nll", 0.02)
    assert judge_values(base, base + rng.normal(0.0, 0.1, 4000), rule).verdict == "pass"
    worse = judge_values(base, base + rng.normal(0.05, 0.1, 4000), rule)
    assert (worse.verdict, worse.only_base_wrong) == ("fail", None)
    assert "nats" in worse.reason
    assert judge_values(base[:50], base[:50] + rng.normal(0.0, 0.5, 50), rule).verdict == "inconclusive"


@pytest.mark.parametrize("difference", [0.0, 0.02])
def test_nll_keeps_its_error_rates(difference: float) -> None:
    rng = np.random.default_rng(7)
    rule = GateRule("nll", 0.02)
    verdicts = [
        judge_values(np.zeros(400), rng.normal(difference, 0.2, 400), rule, seed=trial).verdict for trial in range(120)
    ]
    wrong = "fail" if difference == 0 else "pass"
    assert verdicts.count(wrong) / 120 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 120)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((60, 20, 1000), "better: by "),
        ((10, 11, 50_000), "worse by at most 0.018 points at 95 % confidence; the margin is 0.50 points"),
        ((100, 160, 5000), "worse by 1.2 points (p < 0.001), and not shown to be within the margin of 0.50 points"),
        ((24, 26, 1000), "not shown to be worse, and it may be worse by up to 1.4 points; the margin is 0.50 points"),
    ],
)
def test_the_reason_says_what_was_found(counts: tuple[int, int, int], words: str) -> None:
    assert judge_counts(*counts, HALF_A_POINT).reason.startswith(words)


@pytest.mark.parametrize(
    ("metric", "margin", "alpha", "field"),
    [
        ("accuracy", 0.005, 0.05, "metric"),
        ("top1_error", -0.1, 0.05, "margin"),
        ("top1_error", 1.0, 0.05, "margin"),
        ("top5_error", math.nan, 0.05, "margin"),
        ("nll", math.inf, 0.05, "margin"),
        ("nll", 0.1, 0.5, "alpha"),
        ("nll", 0.1, 0.0, "alpha"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_by_its_field(
    metric: GateMetric, margin: float, alpha: float, field: str
) -> None:
    with pytest.raises(SpecError) as refused:
        GateRule(metric, margin, alpha)
    assert [problem.field for problem in refused.value.problems] == [field]
