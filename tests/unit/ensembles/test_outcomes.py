import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score

from ensembles.errors import NonFiniteProbsError, SpecError
from ensembles.metrics import brier_scores, negative_log_likelihoods, top_k_errors
from ensembles.outcomes import OUTCOME_DTYPE, ImageOutcomes, score_images


@st.composite
def scored_images(draw):
    """Posteriors (N, K) on a coarse grid, so that ties are common, and labels (N,)."""
    images, classes = draw(st.integers(1, 12)), draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probs = generator.integers(0, 4, size=(images, classes)) / np.float32(4 * classes)
    return probs, generator.integers(0, classes, size=images)


def images(n=101, classes=10, seed=0):
    generator = np.random.default_rng(seed)
    return generator.dirichlet(np.full(classes, 0.3), size=n).astype(np.float32), generator.integers(0, classes, n)


@given(scored_images(), st.integers(1, 9))
def test_outcomes_hold_what_the_metrics_say(scored, k):
    probs, labels = scored
    outcomes = score_images(probs, labels)
    np.testing.assert_array_equal(outcomes.wrong(k), top_k_errors(probs, labels, k))
    np.testing.assert_array_equal(outcomes.negative_log_likelihoods(), negative_log_likelihoods(probs, labels))
    np.testing.assert_array_equal(outcomes.brier_scores, brier_scores(probs, labels))
    np.testing.assert_array_equal(outcomes.confidences, probs.max(axis=1))


@given(scored_images())
def test_an_image_is_wrong_exactly_where_another_class_than_its_label_is_answered(scored):
    probs, labels = scored
    outcomes = score_images(probs, labels)
    np.testing.assert_array_equal(outcomes.predicted != outcomes.labels, outcomes.wrong())
    # The answer is a class of highest posterior, whichever.
    np.testing.assert_array_equal(probs[np.arange(len(probs)), outcomes.predicted], probs.max(axis=1))


def test_without_ties_the_answer_is_the_argmax():
    probs, labels = images()
    outcomes = score_images(probs, labels)
    np.testing.assert_array_equal(outcomes.predicted, probs.argmax(axis=1))
    assert 1 - outcomes.wrong().mean() == pytest.approx(accuracy_score(labels, probs.argmax(axis=1)))


def test_the_posteriors_are_left_as_they_were():
    probs, labels = images()
    before = probs.copy()
    probs.flags.writeable = False
    score_images(probs, labels)
    np.testing.assert_array_equal(probs, before)


@pytest.mark.parametrize("rows", [1, 7, 64, 101])
def test_blocks_of_any_size_give_the_outcomes_of_the_whole(rows):
    probs, labels = images()
    whole = score_images(probs, labels).to_array()
    blocks = [score_images(probs[i : i + rows], labels[i : i + rows]) for i in range(0, 101, rows)]
    np.testing.assert_array_equal(ImageOutcomes.concatenate(blocks).to_array(), whole)


def test_outcomes_survive_a_file(tmp_path):
    outcomes = score_images(*images())
    np.save(tmp_path / "outcomes.npy", outcomes.to_array(), allow_pickle=False)
    read = ImageOutcomes.from_array(np.load(tmp_path / "outcomes.npy", mmap_mode="r", allow_pickle=False))
    np.testing.assert_array_equal(read.to_array(), outcomes.to_array())
    assert len(read) == 101
    assert read.brier_scores.dtype == np.float64


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), dtype=OUTCOME_DTYPE)])
def test_another_array_is_no_outcomes(array):
    with pytest.raises(SpecError, match=r"^outcomes: "):
        ImageOutcomes.from_array(array)


def test_some_images_are_taken_by_row_or_mask():
    outcomes = score_images(*images())
    mask = np.arange(101) % 3 == 0
    np.testing.assert_array_equal(outcomes.take(mask).to_array(), outcomes.to_array()[mask])
    np.testing.assert_array_equal(outcomes.take(np.array([5, 2])).to_array(), outcomes.to_array()[[5, 2]])


def test_no_blocks_are_no_outcomes():
    with pytest.raises(SpecError, match=r"^blocks: "):
        ImageOutcomes.concatenate([])


def test_a_block_without_an_image_has_no_outcome():
    assert len(score_images(np.empty((0, 3), dtype=np.float32), np.empty(0, dtype=np.int64))) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_is_never_scored(bad):
    probs, labels = images()
    probs[[7, 9], 3] = bad
    with pytest.raises(NonFiniteProbsError) as caught:
        score_images(probs, labels)
    assert (caught.value.row, caught.value.count) == (7, 2)


@pytest.mark.parametrize("labels", [np.array([0]), np.array([0, 3]), np.array([0, -1]), np.array([0.0, 1.0])])
def test_labels_that_name_no_class_of_a_row_are_refused(labels):
    with pytest.raises(SpecError, match=r"^labels: "):
        score_images(np.full((2, 3), 1 / 3), labels)


@pytest.mark.parametrize("k", [0, 1.5, True])
def test_k_below_one_or_not_whole_is_refused(k):
    with pytest.raises(SpecError, match=r"^k: "):
        score_images(*images()).wrong(k)
