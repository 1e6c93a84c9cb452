import numpy as np
import pytest

from ensembles.alignment import align, shared_images
from ensembles.errors import SpecError
from ensembles.outcomes import score_images


def test_sets_are_joined_by_id_in_the_order_of_the_first():
    shared = shared_images([["c", "a", "b", "x"], ["a", "b", "c"], ["y", "b", "z", "c", "a"]])
    assert shared.ids == ("c", "a", "b")
    assert [rows.tolist() for rows in shared.positions] == [[0, 1, 2], [2, 0, 1], [3, 4, 1]]
    assert shared.dropped == (1, 0, 2)


def test_equal_sets_drop_nothing():
    ids = ["a", "b", "c"]
    shared = shared_images([ids, ids, list(ids)])
    assert (shared.ids, shared.dropped) == (("a", "b", "c"), (0, 0, 0))
    assert [rows.tolist() for rows in shared.positions] == [[0, 1, 2]] * 3


def test_sets_without_a_common_image_share_none():
    shared = shared_images([["a"], ["b", "c"]])
    assert (shared.ids, shared.dropped) == ((), (1, 2))
    assert [rows.dtype for rows in shared.positions] == [np.int64, np.int64]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "^sets: at least one"),
        ([["a", "b"], ["b", "a", "b"]], r"^sets\[1\]: every image id once; got 'b'"),
        ([["a", "a"], ["a", "a"]], r"^sets\[0\]: every image id once; got 'a'"),
    ],
)
def test_what_cannot_be_joined_is_refused(sets, message):
    with pytest.raises(SpecError, match=message):
        shared_images(sets)


def prediction_set(ids, labels, seed):
    probs = np.random.default_rng(seed).dirichlet(np.ones(5), size=len(ids)).astype(np.float32)
    return ids, score_images(probs, np.array(labels)), probs


def test_outcomes_are_aligned_row_for_row():
    ids, first, _ = prediction_set(["a", "b", "c", "d"], [0, 1, 2, 3], 0)
    other_ids, second, probs = prediction_set(["d", "q", "b", "a"], [3, 4, 1, 0], 1)
    shared, (left, right) = align([(ids, first), (other_ids, second)])
    assert shared.ids == ("a", "b", "d")
    assert shared.dropped == (1, 1)
    assert left.labels.tolist() == right.labels.tolist() == [0, 1, 3]
    np.testing.assert_array_equal(left.to_array(), first.to_array()[[0, 1, 3]])
    np.testing.assert_array_equal(right.confidences, probs[[3, 2, 0]].max(axis=1))


def test_an_image_of_two_labels_is_no_image_to_compare_on():
    ids, first, _ = prediction_set(["a", "b"], [0, 1], 0)
    _, second, _ = prediction_set(["a", "b"], [0, 2], 1)
    with pytest.raises(SpecError, match=r"^sets\[1\]: the same label .*'b', 1, 2"):
        align([(ids, first), (ids, second)])


def test_ids_of_another_number_than_the_outcomes_are_refused():
    ids, first, _ = prediction_set(["a", "b"], [0, 1], 0)
    with pytest.raises(SpecError, match=r"^sets\[1\]: one id an outcome"):
        align([(ids, first), (ids[:1], first)])
