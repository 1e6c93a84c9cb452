import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from ensembles.errors import SpecError
from ensembles.mcnemar import mcnemar_exact
from ensembles.power import detectable_difference, paired_power


def simulated_power(n, discordance, difference, repetitions=20_000, alpha=0.05):
    chances = [(discordance - difference) / 2, (discordance + difference) / 2, 1 - discordance]
    draws = np.random.default_rng(0).multinomial(n, np.maximum(chances, 0), size=repetitions)
    return float(np.mean(mcnemar_exact(draws[:, 0], draws[:, 1]) <= alpha))


@pytest.mark.parametrize(
    ("n", "discordant"),
    [(1000, 20), (1000, 46), (1000, 100), (50_000, 1000), (50_000, 5000), (60, 20), (300, 2), (1000, 0)],
)
def test_a_detectable_difference_is_found_in_80_of_100_simulated_comparisons(n, discordant):
    difference = detectable_difference(n, discordant)
    found = simulated_power(n, max(discordant / n, difference), difference)
    assert abs(found - 0.8) <= 3 * np.sqrt(0.8 * 0.2 / 20_000) + 0.001


@pytest.mark.parametrize(("share", "points"), [(0.02, 0.18), (0.05, 0.28), (0.10, 0.40)])
def test_detectable_differences_of_50_000_images_are_the_published_ones(share, points):
    assert round(100 * detectable_difference(50_000, int(50_000 * share)), 2) == points


@pytest.mark.parametrize(
    ("n", "discordance", "difference", "alpha"),
    [
        (40, 0.3, 0.2, 0.05),
        (300, 0.1, 0.06, 0.05),
        (1000, 0.05, 0.0, 0.05),
        (500, 1.0, -0.1, 0.01),
        (7, 1.0, 1.0, 0.05),
    ],
)
def test_power_is_the_sum_over_every_table(n, discordance, difference, alpha):
    expected = 0.0
    share = 0.5 * (1 + difference / discordance)
    for discordant in range(n + 1):
        split = np.arange(discordant + 1)
        rejected = mcnemar_exact(split, discordant - split) <= alpha
        expected += binom.pmf(discordant, n, discordance) * binom.pmf(split[rejected], discordant, share).sum()
    assert paired_power(n, discordance, difference, alpha) == pytest.approx(expected, abs=2e-6)


def test_power_of_many_images_is_that_of_every_table_to_a_thousandth():
    n, discordance, difference = 50_000, 0.1, 0.0035
    counts = np.arange(4500, 5501)
    limits = binom.ppf(0.025, counts, 0.5)
    limits -= 2 * binom.cdf(limits, counts, 0.5) > 0.05
    share = 0.5 * (1 + difference / discordance)
    rejected = binom.cdf(limits, counts, share) + binom.sf(counts - limits - 1, counts, share)
    expected = float(binom.pmf(counts, n, discordance) @ rejected)
    assert paired_power(n, discordance, difference) == pytest.approx(expected, abs=1e-3)


def test_nothing_discordant_finds_nothing():
    assert paired_power(1000, 0.0, 0.0) == 0.0


def test_no_discordant_image_does_not_mean_that_every_difference_would_be_noticed():
    # Six discordant images on one side are the fewest that reject; eight expected ones give six in 80 %.
    assert detectable_difference(1000, 0) == pytest.approx(0.0079, abs=5e-5)
    assert detectable_difference(1000, 5) == detectable_difference(1000, 0)


def test_too_few_images_can_show_no_difference_at_all():
    assert detectable_difference(5, 5) is None
    assert detectable_difference(6, 6) == pytest.approx(0.927, abs=5e-4)
    assert detectable_difference(6, 6, alpha=0.03) is None


@pytest.mark.parametrize("n", [6, 17, 25, 30, 37, 44])
def test_the_step_is_largest_where_every_image_is_discordant(n):
    steps = [detectable_difference(n, d + 1) / detectable_difference(n, d) for d in range(n)]
    assert min(steps) == steps[-1] < 0.98
    assert min(steps[:-1]) >= 0.98


@given(st.data(), st.integers(6, 3000))
def test_more_discordance_or_a_stricter_level_hides_larger_differences(data, n):
    discordant = data.draw(st.integers(0, n - 1))
    smallest = detectable_difference(n, discordant)
    assert 0 < smallest <= 1
    # Not strictly: the exact test's level moves in small steps with the number of discordant images. Where all are,
    # that number is not left to chance, and no average softens the step (6 images: 0.9621, the most of all).
    step = 0.98 if discordant + 1 < n else 0.962
    assert detectable_difference(n, discordant + 1) >= smallest * step
    stricter = detectable_difference(n, discordant, alpha=0.05 / 20)
    assert stricter is None or stricter > smallest


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: detectable_difference(0, 0), "n"),
        (lambda: detectable_difference(10, 11), "discordant"),
        (lambda: detectable_difference(10, 1, alpha=0.0), "alpha"),
        (lambda: detectable_difference(10, 1, power=0.05), "power"),
        (lambda: paired_power(10, 1.1, 0.0), "discordance"),
        (lambda: paired_power(10, 0.1, -0.2), "difference"),
        (lambda: paired_power(10, 0.1, float("nan")), "difference"),
    ],
)
def test_arguments_out_of_range_are_named(call, field):
    with pytest.raises(SpecError) as caught:
        call()
    assert [problem.field for problem in caught.value.problems] == [field]
