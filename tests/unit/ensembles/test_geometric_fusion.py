"""The log pool: the normalised geometric mean of posteriors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import NonFiniteProbsError, SpecError
from ensembles.fusion import average_probs, geometric_probs


@st.composite
def positive_members(draw):
    """M members' posteriors (N, K), no zeros."""
    members, images, classes = draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    probs = generator.dirichlet([draw(st.sampled_from([0.3, 1.0, 20.0]))] * classes, size=(members, images)) + 1e-6
    return list(probs / probs.sum(axis=-1, keepdims=True))


def one(*rows):
    return [np.array([row]) for row in rows]


def softmax(logits):
    exponentials = np.exp(np.asarray(logits, dtype=float))
    return exponentials / exponentials.sum()


def test_the_geometric_mean_may_answer_another_class_than_the_arithmetic():
    members = one([0.98, 0.015, 0.005], [0.001, 0.5, 0.499])
    np.testing.assert_allclose(geometric_probs(members), [[0.186497, 0.515929, 0.297574]], atol=5e-7)
    assert average_probs(members).argmax() == 0
    assert geometric_probs(members).argmax() == 1


def test_three_members_pool_geometrically():
    members = one([0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3])
    np.testing.assert_allclose(geometric_probs(members), [[0.286748, 0.465773, 0.247479]], atol=5e-7)


def test_it_is_the_softmax_of_mean_logits():
    first, second = softmax([2, 0, -1]), softmax([-1, 1, 0])
    np.testing.assert_allclose(geometric_probs(one(first, second)), [softmax([0.5, 0.5, -0.5])], atol=1e-15)
    np.testing.assert_allclose(geometric_probs(one(first, second)), [[0.422319, 0.422319, 0.155362]], atol=5e-7)
    np.testing.assert_allclose(average_probs(one(first, second)), [[0.466913, 0.389718, 0.143369]], atol=5e-7)


@given(members=positive_members(), label=st.integers(0, 1))
def test_neither_rule_has_a_higher_nll_than_its_members_on_average(members, label):
    def nll(probs):
        return -np.log(np.asarray(probs)[:, label])

    mean_nll = np.mean([nll(member) for member in members], axis=0)
    # Z = sum over classes of the product of p^w, at most 1: the pool's gain is exactly log Z.
    log_z = np.log(np.exp(np.mean(np.log(members), axis=0)).sum(axis=1))
    np.testing.assert_allclose(nll(geometric_probs(members)), mean_nll + log_z, atol=1e-9)
    assert (log_z <= 1e-12).all()
    assert (nll(average_probs(members)) <= mean_nll + 1e-9).all()


@given(members=positive_members(), data=st.data())
def test_weights_are_relative_and_the_order_of_members_does_not_matter(members, data):
    weights = data.draw(st.lists(st.floats(0.1, 10), min_size=len(members), max_size=len(members)))
    order = data.draw(st.permutations(range(len(members))))
    pooled = geometric_probs(members, weights)
    np.testing.assert_allclose(pooled.sum(axis=1), 1, atol=1e-12)
    np.testing.assert_allclose(geometric_probs(members, [3 * w for w in weights]), pooled, atol=1e-12)
    shuffled = geometric_probs([members[i] for i in order], [weights[i] for i in order])
    np.testing.assert_allclose(shuffled, pooled, atol=1e-12)
    np.testing.assert_allclose(geometric_probs([members[0]] * 3), members[0], atol=1e-12)


def test_a_zero_vetoes_its_class():
    np.testing.assert_array_equal(geometric_probs(one([0.9, 0.1, 0.0], [0.0, 0.5, 0.5])), [[0, 1, 0]])


def test_where_every_class_is_vetoed_those_with_the_least_weight_against_them_share():
    one_hot = one([1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(geometric_probs(one_hot), [[0.5, 0.5, 0.0]])
    np.testing.assert_array_equal(geometric_probs(one_hot, [2, 1]), [[1, 0, 0]])


def test_a_member_of_weight_zero_vetoes_nothing():
    members = one([0.5, 0.5], [1.0, 0.0])
    np.testing.assert_array_equal(geometric_probs(members, [1, 0]), members[0])


def test_a_value_that_is_not_finite_or_a_bad_weight_is_refused():
    with pytest.raises(NonFiniteProbsError):
        geometric_probs(one([0.5, np.nan], [0.5, 0.5]))
    with pytest.raises(SpecError, match="weights"):
        geometric_probs(one([0.5, 0.5]), [-1.0])
