import numpy as np
import pytest
from scipy.stats import binom, ttest_1samp

from ensembles.bootstrap import bootstrap_means, bootstrap_p, percentile_interval
from ensembles.errors import SpecError


def test_resampled_means_spread_as_the_standard_error_says():
    values = np.random.default_rng(0).gamma(2.0, size=(400, 1))
    means = bootstrap_means(values, 4000)
    assert means.mean() == pytest.approx(values.mean(), abs=4 * values.std() / np.sqrt(400 * 4000))
    assert means.std() == pytest.approx(values.std() / np.sqrt(400), rel=0.05)


def test_how_often_an_image_is_drawn_is_multinomial():
    # The column that marks one image has the mean (times drawn) / n.
    times = np.rint(bootstrap_means(np.eye(50)[:, :1], 20_000) * 50).astype(int).ravel()
    found = np.bincount(times, minlength=6)[:6] / 20_000
    np.testing.assert_allclose(found, binom.pmf(np.arange(6), 50, 1 / 50), atol=0.012)


def test_each_resample_holds_as_many_images_as_there_are():
    np.testing.assert_allclose(bootstrap_means(np.ones((37, 1)), 100), 1.0, rtol=1e-12)


def test_all_columns_share_the_draw():
    values = np.random.default_rng(1).random((60, 1))
    means = bootstrap_means(np.hstack([values, values + 1, 2 * values]), 50)
    np.testing.assert_allclose(means[:, 1], means[:, 0] + 1, rtol=1e-12)
    np.testing.assert_allclose(means[:, 2], 2 * means[:, 0], rtol=1e-12)


def test_the_seed_decides_the_draws_and_the_block_size_does_not(monkeypatch):
    values = np.random.default_rng(1).random((60, 2))
    means = bootstrap_means(values, 30, seed=5)
    assert not np.array_equal(bootstrap_means(values, 30, seed=6), means)
    monkeypatch.setattr("ensembles.bootstrap._BLOCK_BYTES", 8 * 60 * 7)  # blocks of seven resamples
    np.testing.assert_allclose(bootstrap_means(values, 30, seed=5), means, rtol=1e-13)


def test_the_interval_is_the_central_share_of_the_samples():
    assert percentile_interval(np.arange(1001.0), 0.95) == pytest.approx((25.0, 975.0))


def test_the_p_value_counts_the_far_side_of_zero_twice():
    samples = np.concatenate([np.full(97, 1.0), np.full(2, -1.0)])
    assert bootstrap_p(samples) == pytest.approx(2 * 3 / 100)
    assert bootstrap_p(-samples) == bootstrap_p(samples)
    assert bootstrap_p(np.zeros(99)) == 1.0


def test_the_p_value_follows_the_t_test_on_many_images():
    values = np.random.default_rng(4).normal(0.1, 1.0, size=(500, 1))
    found = bootstrap_p(bootstrap_means(values, 8000).ravel())
    assert found == pytest.approx(ttest_1samp(values.ravel(), 0.0).pvalue, abs=0.012)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ((np.zeros(3), 10), "values"),
        ((np.zeros((0, 2)), 10), "values"),
        ((np.array([[np.nan]]), 10), "values"),
        ((np.zeros((3, 1)), 0), "resamples"),
        ((np.zeros((3, 1)), 10, -1), "seed"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, field):
    with pytest.raises(SpecError) as caught:
        bootstrap_means(*arguments)
    assert [problem.field for problem in caught.value.problems] == [field]
