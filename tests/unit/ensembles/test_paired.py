import numpy as np
import pytest
from scipy.stats import binom, ttest_rel
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests

from ensembles.errors import SpecError
from ensembles.intervals import tango_interval
from ensembles.paired import PairedComparison, adjust_family, compare_paired, compare_values
from ensembles.power import detectable_difference

#: Names that a comparison's JSON has; interfaces build it from the dataclass.
JSON_FIELDS = {
    *("candidate", "metric", "n", "base_value", "candidate_value", "difference", "low", "high", "protocols_differ"),
    *("only_base_wrong", "only_candidate_wrong", "p_exact", "p_adjusted", "detectable_difference_80", "verdict"),
}


def outcomes(both, only_base, only_candidate, neither):
    """Outcomes of base and candidate with the given counts, in a shuffled order."""
    base = np.repeat([True, True, False, False], [both, only_base, only_candidate, neither])
    candidate = np.repeat([True, False, True, False], [both, only_base, only_candidate, neither])
    order = np.random.default_rng(0).permutation(len(base))
    return base[order], candidate[order]


def test_a_comparison_of_errors_says_all_of_it():
    found = compare_paired(*outcomes(100, 120, 80, 700), candidate="vgg19", metric="top5_error")
    assert (found.candidate, found.metric, found.n) == ("vgg19", "top5_error", 1000)
    assert (found.base_value, found.candidate_value) == (0.22, 0.18)
    assert found.difference == -0.04
    assert (found.only_base_wrong, found.only_candidate_wrong) == (120, 80)
    assert (found.low, found.high) == tango_interval(120, 80, 1000)
    assert found.p == found.p_exact == found.p_adjusted == pytest.approx(0.00568516, rel=1e-5)
    assert found.p_mid == pytest.approx(
        statsmodels_mcnemar([[100, 120], [80, 700]]).pvalue - binom.pmf(80, 200, 0.5), rel=1e-6
    )
    assert found.detectable_difference_80 == detectable_difference(1000, 200, alpha=1 - 0.95)
    assert found.verdict == "better"
    assert found.protocols_differ == ()
    assert set(PairedComparison.__dataclass_fields__) >= JSON_FIELDS


def test_exchanging_base_and_candidate_mirrors_the_comparison():
    base, candidate = outcomes(100, 120, 80, 700)
    there, back = compare_paired(base, candidate), compare_paired(candidate, base)
    assert (back.difference, back.verdict) == (-there.difference, "worse")
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=1e-12)
    assert (back.p, back.detectable_difference_80) == (there.p, there.detectable_difference_80)


def test_equal_answers_are_no_difference_and_the_interval_is_not_empty():
    base, _ = outcomes(100, 0, 0, 900)
    found = compare_paired(base, base.copy())
    assert (found.p, found.p_mid, found.difference, found.verdict) == (1.0, 1.0, 0.0, "no difference detectable")
    assert found.low < 0 < found.high
    assert found.detectable_difference_80 == pytest.approx(0.0079, abs=5e-5)


def test_the_verdict_comes_from_the_p_value_and_not_from_the_interval():
    # Tango's interval leaves 0 out although the exact test does not reject: eight images against two.
    found = compare_paired(*outcomes(0, 8, 1, 91))
    assert found.high < 0
    assert found.p == pytest.approx(0.0390625)
    assert found.verdict == "better"
    found = compare_paired(*outcomes(0, 5, 0, 95))
    assert found.high < 0
    assert found.p == 0.0625
    assert found.verdict == "no difference detectable"


def test_the_level_follows_the_confidence():
    base, candidate = outcomes(100, 120, 80, 700)
    assert compare_paired(base, candidate, confidence=0.99).verdict == "better"
    assert compare_paired(base, candidate, confidence=0.999).verdict == "no difference detectable"
    strict, loose = (compare_paired(base, candidate, confidence=confidence) for confidence in (0.99, 0.9))
    assert strict.low < loose.low < loose.high < strict.high
    assert strict.detectable_difference_80 > loose.detectable_difference_80


def test_equal_classifiers_are_called_different_in_at_most_5_of_100_comparisons():
    random, repetitions = np.random.default_rng(8), 120
    verdicts = []
    for discordance in (0.02, 0.06, 0.1):
        for _ in range(repetitions):
            base = random.random(1000) < 0.25
            # Flips between right and wrong that leave both at the same rate.
            flips = random.random(1000) < np.where(base, 2 * discordance, 2 * discordance / 3)
            verdicts.append(compare_paired(base, base ^ flips).verdict != "no difference detectable")
    assert np.mean(verdicts) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / len(verdicts))
    assert np.mean(verdicts) >= 0.015


def test_a_family_is_judged_by_holms_adjustment_and_its_strictest_step():
    tables = [(100, 120, 80, 700), (100, 100, 72, 728), (100, 90, 88, 722)]
    alone = [compare_paired(*outcomes(*table), candidate=str(i)) for i, table in enumerate(tables)]
    assert [comparison.verdict for comparison in alone] == ["better", "better", "no difference detectable"]
    family = adjust_family(alone)
    expected = multipletests([comparison.p for comparison in alone], method="holm")[1]
    assert [comparison.p_adjusted for comparison in family] == pytest.approx(expected.tolist())
    assert [comparison.p for comparison in family] == [comparison.p for comparison in alone]
    assert [comparison.verdict for comparison in family] == ["better", *["no difference detectable"] * 2]
    assert family[0].detectable_difference_80 == detectable_difference(1000, 200, alpha=(1 - 0.95) / 3)
    assert adjust_family(family) == family


def test_a_family_of_one_is_the_comparison_alone_and_an_empty_one_is_empty():
    alone = compare_paired(*outcomes(100, 120, 80, 700))
    assert adjust_family([alone]) == (alone,)
    assert adjust_family([]) == ()


def losses(seed=0, images=1500, gain=0.05):
    """Losses of a base, and of two candidates on the same images, of which the first is better."""
    random = np.random.default_rng(seed)
    base = random.gamma(1.0, size=images)
    return base, {
        "better": base - gain + random.normal(0, 0.3, images),
        "equal": base + random.normal(0, 0.3, images),
    }


def test_a_comparison_of_values_follows_the_paired_t_test():
    base, candidates = losses()
    found = compare_values(base, candidates, metric="nll", resamples=8000)
    for comparison, values in zip(found, candidates.values(), strict=True):
        theirs = ttest_rel(values, base)
        limits = theirs.confidence_interval()
        assert comparison.difference == pytest.approx((values - base).mean(), rel=1e-9)
        assert (comparison.base_value, comparison.candidate_value) == pytest.approx((base.mean(), values.mean()))
        assert (comparison.low, comparison.high) == pytest.approx((limits.low, limits.high), abs=1e-3)
        assert comparison.p == pytest.approx(theirs.pvalue, abs=0.02)
        assert comparison.standard_error == pytest.approx((values - base).std() / np.sqrt(len(base)), rel=0.03)
        assert (comparison.only_base_wrong, comparison.p_exact, comparison.p_mid) == (None, None, None)
    assert [(comparison.candidate, comparison.verdict) for comparison in found] == [
        ("better", "better"),
        ("equal", "no difference detectable"),
    ]


def test_a_detectable_difference_of_values_is_found_in_80_of_100_comparisons():
    base, candidates = losses(images=400)
    detectable = compare_values(base, candidates, metric="nll")[1].detectable_difference_80
    verdicts = []
    for seed in range(1, 151):
        base, candidates = losses(seed, images=400, gain=detectable)
        found = compare_values(base, {"better": candidates["better"]}, metric="nll", resamples=300)
        verdicts.append(found[0].verdict == "better")
    assert abs(np.mean(verdicts) - 0.8) <= 3 * np.sqrt(0.8 * 0.2 / len(verdicts))


def test_a_score_of_several_means_is_compared_as_a_whole():
    random = np.random.default_rng(0)
    base, candidate = random.normal(0.3, 1, (800, 2)), random.normal(-0.3, 1, (800, 2))
    (found,) = compare_values(base, {"c": candidate}, metric="ece", score=lambda means: np.abs(means).sum(axis=-1))
    assert found.base_value == pytest.approx(np.abs(base.mean(axis=0)).sum())
    assert found.candidate_value == pytest.approx(np.abs(candidate.mean(axis=0)).sum())
    assert found.low < found.difference < found.high


def test_the_same_seed_gives_the_same_comparison():
    base, candidates = losses()
    first, again, other = (compare_values(base, candidates, metric="nll", seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95, float("nan")])
def test_a_confidence_out_of_range_is_refused(confidence):
    base, candidate = outcomes(1, 1, 1, 1)
    with pytest.raises(SpecError, match=r"^confidence: "):
        compare_paired(base, candidate, confidence=confidence)
    with pytest.raises(SpecError, match=r"^confidence: "):
        compare_values(np.ones(3), {"c": np.ones(3)}, metric="nll", confidence=confidence)


def test_values_of_other_images_are_refused_by_name():
    with pytest.raises(SpecError, match=r"^candidates.vgg19: the shape of base_values"):
        compare_values(np.ones(3), {"vgg16": np.ones(3), "vgg19": np.ones(4)}, metric="nll")
