import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from ensembles.calibration import calibration_gaps, expected_calibration_error, gap_score, reliability_curve
from ensembles.errors import SpecError
from ensembles.outcomes import score_images
from ensembles.statistics import wilson_interval


def images(n=2000, classes=10, seed=0):
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.full(classes, 0.3), size=n).astype(np.float32)
    # About as often right as the confidence says.
    labels = (probs.cumsum(axis=1) > generator.random((n, 1))).argmax(axis=1)
    return probs, labels


def confidences_of(probs, labels):
    outcomes = score_images(probs, labels)
    return outcomes.confidences, ~outcomes.wrong()


@pytest.mark.parametrize("bins", [1, 10, 15, 100])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_error_of_equal_widths_agrees_with_torchmetrics(bins, seed):
    probs, labels = images(seed=seed)
    theirs = multiclass_calibration_error(torch.tensor(probs), torch.tensor(labels), num_classes=10, n_bins=bins)
    curve = reliability_curve(*confidences_of(probs, labels), bins=bins)
    assert expected_calibration_error(curve) == pytest.approx(float(theirs), abs=1e-6)


@pytest.mark.parametrize(("binning", "strategy"), [("width", "uniform"), ("mass", "quantile")])
def test_the_curve_agrees_with_scikit_learn(binning, strategy):
    # 2,001 images make scikit-learn's interpolated quantiles fall on images.
    confidences, right = confidences_of(*images(n=2001))
    accuracy, confidence = calibration_curve(right, confidences, n_bins=10, strategy=strategy)
    curve = [b for b in reliability_curve(confidences, right, bins=10, binning=binning) if b.n]
    assert [b.accuracy for b in curve] == pytest.approx(accuracy.tolist(), abs=0.006)
    assert [b.confidence for b in curve] == pytest.approx(confidence.tolist(), abs=0.001)


def test_a_curve_by_hand():
    confidences, right = np.array([0.5, 0.55, 0.9, 1.0, 0.25]), np.array([True, False, True, True, False])
    curve = reliability_curve(confidences, right, bins=2)
    assert [(b.low, b.high, b.n) for b in curve] == [(0.0, 0.5, 2), (0.5, 1.0, 3)]
    assert (curve[0].confidence, curve[0].accuracy) == (0.375, 0.5)
    assert (curve[1].confidence, curve[1].accuracy) == (pytest.approx(2.45 / 3), pytest.approx(2 / 3))
    assert (curve[1].accuracy_low, curve[1].accuracy_high) == wilson_interval(2, 3)
    assert expected_calibration_error(curve) == pytest.approx((2 * 0.125 + 0.45) / 5)


def test_a_bin_without_an_image_says_nothing():
    curve = reliability_curve(np.array([0.9]), np.array([True]), bins=4)
    assert [b.n for b in curve] == [0, 0, 0, 1]
    assert (curve[0].confidence, curve[0].accuracy, curve[0].accuracy_low) == (None, None, None)
    assert expected_calibration_error(curve) == pytest.approx(0.1)


@given(st.integers(1, 400), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_bins_of_equal_mass_hold_equally_many_images(n, bins, seed):
    confidences = np.random.default_rng(seed).random(n)
    curve = reliability_curve(confidences, np.ones(n, dtype=bool), bins=bins, binning="mass")
    sizes = [b.n for b in curve]
    assert sum(sizes) == n
    assert max(sizes) - min(sizes) <= 1
    if n >= bins:
        assert len(sizes) == bins


def test_equal_confidences_are_never_torn_apart():
    confidences = np.array([0.3] * 3 + [1.0] * 97)
    right = np.arange(100) % 4 != 0
    curve = reliability_curve(confidences, right, bins=10, binning="mass")
    shuffled = np.random.default_rng(0).permutation(100)
    again = reliability_curve(confidences[shuffled], right[shuffled], bins=10, binning="mass")
    for bins in (curve, again):
        assert [(b.low, b.high, b.n, b.accuracy) for b in bins] == [(0.0, 1.0, 100, 0.75)]
    curve = reliability_curve(np.repeat([0.2, 0.6, 0.9], [30, 60, 10]), np.ones(100, dtype=bool), 4, "mass")
    assert [(b.low, b.high, b.n) for b in curve] == [(0.0, 0.2, 30), (0.2, 0.6, 60), (0.6, 1.0, 10)]
    alike = reliability_curve(np.full(5, 0.7), np.ones(5, dtype=bool), bins=10, binning="mass")
    assert [(b.low, b.high, b.n) for b in alike] == [(0.0, 0.7, 5), (0.7, 1.0, 0)]


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_the_error_is_a_function_of_means_over_images(binning):
    confidences, right = confidences_of(*images())
    gaps = calibration_gaps(confidences, right, bins=12, binning=binning)
    curve = reliability_curve(confidences, right, bins=12, binning=binning)
    assert float(gap_score(gaps.mean(axis=0))) == pytest.approx(expected_calibration_error(curve), rel=1e-12)
    assert gap_score(np.stack([gaps.mean(axis=0)] * 3)).shape == (3,)


def test_calibrated_confidence_has_a_small_error_and_inflated_confidence_a_large_one():
    confidences, right = confidences_of(*images(n=20_000))
    honest = expected_calibration_error(reliability_curve(confidences, right))
    inflated = expected_calibration_error(reliability_curve(confidences**0.3, right))
    assert honest < 0.02
    assert inflated > 0.1


@pytest.mark.parametrize(
    ("confidences", "right", "bins", "binning", "field"),
    [
        (np.array([0.5]), np.array([True, False]), 10, "width", "right"),
        (np.array([0.5]), np.array([1]), 10, "width", "right"),
        (np.array([]), np.array([], dtype=bool), 10, "width", "right"),
        (np.array([1.5]), np.array([True]), 10, "width", "confidences"),
        (np.array([np.nan]), np.array([True]), 10, "width", "confidences"),
        (np.array([0.5]), np.array([True]), 0, "width", "bins"),
        (np.array([0.5]), np.array([True]), 10, "depth", "binning"),
    ],
)
def test_arguments_out_of_range_are_named(confidences, right, bins, binning, field):
    with pytest.raises(SpecError) as caught:
        reliability_curve(confidences, right, bins, binning)
    assert [problem.field for problem in caught.value.problems] == [field]
