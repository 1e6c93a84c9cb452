import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from ensembles.errors import NonFiniteProbsError, SpecError
from ensembles.metrics import (
    brier_score,
    brier_scores,
    label_ranks,
    negative_log_likelihood,
    negative_log_likelihoods,
    top_k_error,
    top_k_errors,
)

TIED = np.array([[0.3, 0.3, 0.2, 0.1, 0.05, 0.05]])


@st.composite
def scored_images(draw):
    """Posteriors (N, K) on a coarse grid, so that ties are common, and labels (N,)."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probs = generator.integers(0, 4, size=(images, classes)) / np.float32(4 * classes)
    return probs, generator.integers(0, classes, size=images)


@pytest.mark.parametrize("label", [4, 5])
def test_a_tie_at_the_fifth_place_counts_against_the_label(label):
    assert top_k_errors(TIED, np.array([label]), k=5).tolist() == [True]


def test_a_tie_at_the_first_place_counts_against_the_label():
    assert top_k_errors(TIED, np.array([0]), k=1).tolist() == [True]
    assert top_k_errors(TIED, np.array([0]), k=2).tolist() == [False]


def test_a_network_that_cannot_tell_classes_apart_is_always_wrong():
    probs = np.full((10, 10), 0.1)
    assert top_k_error(probs, np.arange(10), k=1) == 1.0
    assert top_k_error(probs, np.arange(10), k=5) == 1.0


def test_top_5_error_of_three_classes_is_zero():
    probs = np.array([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3]])
    assert top_k_error(probs, np.array([0, 1]), k=5) == 0.0
    assert top_k_error(probs, np.array([0, 1]), k=3) == 0.0


def test_errors_are_the_fraction_of_wrong_images():
    probs = np.array([[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3]])
    labels = np.array([0, 1, 2, 1])
    assert top_k_errors(probs, labels, k=1).tolist() == [False, True, True, False]
    assert top_k_error(probs, labels) == 0.5
    assert top_k_error(probs, labels, k=2) == 0.25


@given(scored_images(), st.integers(1, 12))
def test_top_k_errors_agree_with_a_count_in_plain_python(scored, k):
    probs, labels = scored
    expected = [
        sum(p >= row[label] for j, p in enumerate(row) if j != label) >= k
        for row, label in zip(probs.tolist(), labels.tolist(), strict=True)
    ]
    assert top_k_errors(probs, labels, k).tolist() == expected


@given(scored_images())
def test_a_larger_k_never_adds_an_error(scored):
    probs, labels = scored
    errors = [top_k_error(probs, labels, k) for k in range(1, probs.shape[1] + 1)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0.0


@given(scored_images(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_renumbering_the_classes_changes_no_error(scored, random, k):
    probs, labels = scored
    new_number = np.array(random.sample(range(probs.shape[1]), probs.shape[1]))
    renumbered = np.empty_like(probs)
    renumbered[:, new_number] = probs
    np.testing.assert_array_equal(top_k_errors(renumbered, new_number[labels], k), top_k_errors(probs, labels, k))


@pytest.mark.parametrize("rows", [1, 7, 64, 101])
def test_row_blocks_of_any_size_give_the_errors_of_the_whole(rows):
    generator = np.random.default_rng(7)
    probs, labels = generator.dirichlet(np.ones(10), size=101), generator.integers(0, 10, size=101)
    for score in (top_k_errors, negative_log_likelihoods, brier_scores):
        blocks = [score(probs[i : i + rows], labels[i : i + rows]) for i in range(0, 101, rows)]
        np.testing.assert_array_equal(np.concatenate(blocks), score(probs, labels))


def test_negative_log_likelihood_is_the_mean_in_nats():
    probs = np.array([[0.5, 0.5], [0.2, 0.8]])
    assert negative_log_likelihood(probs, np.array([0, 1])) == pytest.approx(
        -(math.log(0.5) + math.log(0.8)) / 2, abs=1e-15
    )


def test_a_posterior_of_zero_costs_a_finite_number_of_nats():
    probs = np.array([[0.0, 1.0]], dtype=np.float32)
    assert negative_log_likelihood(probs, np.array([0])) == -math.log(1e-12)
    assert negative_log_likelihood(probs, np.array([1])) == 0.0


def test_the_log_likelihood_of_float32_posteriors_is_taken_in_float64():
    losses = negative_log_likelihoods(np.array([[0.1, 0.9]], dtype=np.float32), np.array([0]))
    assert losses.dtype == np.float64
    assert losses[0] == -math.log(np.float32(0.1))


@given(scored_images())
def test_the_mean_of_posteriors_is_never_likelier_to_be_worse_than_the_mean_member(scored):
    probs, labels = scored
    other = np.roll(probs, 1, axis=1)
    mean_member = (negative_log_likelihood(probs, labels) + negative_log_likelihood(other, labels)) / 2
    assert negative_log_likelihood((probs + other) / 2, labels) <= mean_member + 1e-6


@pytest.mark.parametrize("score", [top_k_errors, top_k_error, negative_log_likelihood, brier_score])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_is_never_scored(score, bad):
    probs = np.full((4, 3), 1 / 3)
    probs[2, 1] = bad
    with pytest.raises(NonFiniteProbsError) as caught:
        score(probs, np.array([0, 0, 0, 0]))
    assert (caught.value.row, caught.value.count) == (2, 1)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0]),
        np.array([[0], [0]]),
        np.array([0, 3]),
        np.array([-1, 0]),
        np.array([0.0, 1.0]),
        np.array([True, False]),
    ],
    ids=["too few", "two-dimensional", "beyond the last class", "negative", "float", "bool"],
)
@pytest.mark.parametrize("score", [top_k_errors, negative_log_likelihood, brier_scores])
def test_labels_that_name_no_class_of_a_row_are_refused(score, labels):
    with pytest.raises(SpecError, match=r"^labels: "):
        score(np.full((2, 3), 1 / 3), labels)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_k_below_one_or_not_whole_is_refused(k):
    with pytest.raises(SpecError, match=r"^k: "):
        top_k_errors(TIED, np.array([0]), k=k)


def test_an_error_rate_of_no_images_is_refused_and_not_nan():
    nothing, labels = np.empty((0, 3)), np.empty(0, dtype=np.int64)
    assert top_k_errors(nothing, labels).tolist() == []
    for score in (top_k_error, negative_log_likelihood, brier_score):
        with pytest.raises(SpecError, match="at least one image"):
            score(nothing, labels)


@given(scored_images())
def test_label_ranks_count_the_classes_at_least_as_likely(scored):
    probs, labels = scored
    expected = [
        sum(p >= row[label] for j, p in enumerate(row) if j != label)
        for row, label in zip(probs.tolist(), labels.tolist(), strict=True)
    ]
    assert label_ranks(probs, labels).tolist() == expected


def test_brier_scores_agree_with_scikit_learn():
    generator = np.random.default_rng(0)
    probs, labels = generator.dirichlet(np.ones(7), size=500), generator.integers(0, 7, size=500)
    theirs = brier_score_loss(labels, probs, labels=range(7), scale_by_half=False)
    assert brier_score(probs, labels) == pytest.approx(theirs, rel=1e-12)


def test_brier_scores_run_from_a_sure_right_answer_to_a_sure_wrong_one():
    probs = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.25, 0.25]], dtype=np.float32)
    assert brier_scores(probs, np.array([0, 0, 0])).tolist() == [0.0, 2.0, 0.375]


def test_brier_scores_of_float32_posteriors_are_taken_in_float64():
    probs = np.random.default_rng(0).dirichlet(np.full(1000, 0.05), size=50).astype(np.float32)
    labels = probs.argmax(axis=1)
    exact = probs.astype(np.float64)
    expected = ((exact - np.eye(1000)[labels]) ** 2).sum(axis=1)
    np.testing.assert_allclose(brier_scores(probs, labels), expected, rtol=1e-12)
