import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from ensembles.confusion import ClassErrors, ConfusedPair, class_errors, confused_pairs, confusion_counts, most_confused
from ensembles.errors import SpecError
from ensembles.outcomes import score_images
from ensembles.statistics import wilson_interval


def answers(n=500, classes=7, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, n).astype(np.int32)
    return labels, np.where(generator.random(n) < 0.6, labels, generator.integers(0, classes, n)).astype(np.int32)


def test_counts_agree_with_scikit_learn():
    labels, predicted = answers()
    np.testing.assert_array_equal(
        confusion_counts(labels, predicted, 9), confusion_matrix(labels, predicted, labels=range(9))
    )


def test_counts_of_blocks_add_up():
    labels, predicted = answers()
    blocks = [confusion_counts(labels[i : i + 64], predicted[i : i + 64], 7) for i in range(0, 500, 64)]
    np.testing.assert_array_equal(sum(blocks), confusion_counts(labels, predicted, 7))


def test_what_is_off_the_diagonal_are_the_errors():
    probs = np.random.default_rng(0).integers(0, 3, (300, 4)) / np.float32(12)  # ties everywhere
    outcomes = score_images(probs, np.random.default_rng(1).integers(0, 4, 300))
    counts = confusion_counts(outcomes.labels, outcomes.predicted, 4)
    assert counts.sum() - np.trace(counts) == outcomes.wrong().sum() > 0


def test_the_most_confused_pairs_come_first_and_equal_ones_by_class():
    counts = np.array([[50, 3, 0], [3, 90, 7], [1, 0, 4]])
    assert most_confused(counts) == (
        ConfusedPair(label=1, predicted=2, count=7, share=0.07),
        ConfusedPair(label=0, predicted=1, count=3, share=3 / 53),
        ConfusedPair(label=1, predicted=0, count=3, share=0.03),
        ConfusedPair(label=2, predicted=0, count=1, share=0.2),
    )
    assert len(most_confused(counts, limit=2)) == 2
    assert counts[0, 0] == 50


def test_no_mistake_is_no_confused_pair():
    assert most_confused(np.diag([3, 4])) == ()
    assert confused_pairs(np.array([0, 1]), np.array([0, 1]), 2) == ()


def test_the_pairs_without_the_matrix_are_those_of_the_matrix():
    labels, predicted = answers()
    assert confused_pairs(labels, predicted, 9) == most_confused(confusion_counts(labels, predicted, 9), limit=81)


def test_pairs_of_many_thousand_classes_need_no_matrix():
    (pair,) = confused_pairs(np.array([99_999, 3]), np.array([7, 3]), 100_000)
    assert pair == ConfusedPair(label=99_999, predicted=7, count=1, share=1.0)


@pytest.mark.parametrize(
    ("labels", "predicted", "message"),
    [([0], [0, 1], "one a label"), ([2], [0], "from 0 to 1"), ([0], [-1], "predicted: class numbers from 0 to 1")],
)
def test_pairs_of_what_are_no_classes_are_refused(labels, predicted, message):
    with pytest.raises(SpecError, match=message):
        confused_pairs(np.array(labels), np.array(predicted), 2)


def test_every_class_has_its_error_and_interval():
    labels, predicted = answers()
    rows = class_errors(labels, labels != predicted, 8)
    assert [row.label for row in rows] == list(range(8))
    for row in rows[:7]:
        mine = labels == row.label
        assert (row.n, row.errors) == (mine.sum(), (predicted[mine] != row.label).sum())
        assert (row.low, row.high) == wilson_interval(row.errors, row.n)
        assert row.value == row.errors / row.n
    assert rows[7] == ClassErrors(label=7, n=0, errors=0, value=None, low=None, high=None)


@pytest.mark.parametrize(
    ("labels", "predicted", "classes", "field"),
    [
        (np.array([0, 3]), np.array([0, 0]), 3, "labels"),
        (np.array([0, 1]), np.array([0, -1]), 3, "predicted"),
        (np.array([0.0]), np.array([0]), 3, "labels"),
        (np.array([0, 1]), np.array([0]), 3, "predicted"),
        (np.array([0]), np.array([0]), 0, "classes"),
    ],
)
def test_what_names_no_class_is_refused(labels, predicted, classes, field):
    with pytest.raises(SpecError, match=f"^{field}: "):
        confusion_counts(labels, predicted, classes)


@pytest.mark.parametrize("wrong", [np.array([True]), np.array([1, 0])])
def test_outcomes_of_other_images_are_refused(wrong):
    with pytest.raises(SpecError, match=r"^wrong: "):
        class_errors(np.array([0, 1]), wrong, 2)
