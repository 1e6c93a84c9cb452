import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import matthews_corrcoef

from ensembles.agreement import disagreement, ensemble_effect, error_correlation, members_disagree
from ensembles.errors import SpecError
from ensembles.fusion import average_probs
from ensembles.outcomes import score_images


def member_answers(members=4, images=300, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 5, images)
    predicted = np.where(generator.random((members, images)) < 0.7, labels, generator.integers(0, 5, (members, images)))
    return labels, predicted


def test_disagreement_is_the_share_of_different_answers():
    _, predicted = member_answers()
    found = disagreement(predicted)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx((predicted[i] != predicted[j]).mean())
    assert found.diagonal().tolist() == [0.0] * 4


def test_members_disagree_where_one_answers_differently():
    predicted = np.array([[1, 2, 3, 0], [1, 2, 2, 0], [1, 0, 3, 0]])
    assert members_disagree(predicted).tolist() == [False, True, True, False]
    assert members_disagree(predicted[:1]).tolist() == [False] * 4


def test_error_correlation_agrees_with_scipy_and_scikit_learn():
    labels, predicted = member_answers()
    wrong = predicted != labels
    found = error_correlation(wrong)
    for i in range(4):
        for j in range(4):
            assert found[i, j] == pytest.approx(pearsonr(wrong[i], wrong[j]).statistic, abs=1e-12)
            assert found[i, j] == pytest.approx(matthews_corrcoef(wrong[i], wrong[j]), abs=1e-12)


def test_correlations_of_equal_and_opposite_errors_are_exactly_one():
    wrong = np.random.default_rng(0).random(1001) < 0.3
    assert error_correlation(np.array([wrong, wrong, ~wrong])).tolist() == [[1, 1, -1], [1, 1, -1], [-1, -1, 1]]


def test_a_member_without_an_error_correlates_with_nothing():
    found = error_correlation(np.array([[False, False, False], [True, False, True], [True, False, False]]))
    assert np.isnan(found[0]).all()
    assert np.isnan(found[:, 0]).all()
    assert found[1, 2] == pytest.approx(0.5)


def test_images_are_sorted_by_what_the_ensemble_changes():
    members = np.array(
        [
            [True, True, False, False, True, False],
            [True, True, True, False, False, False],
        ]
    )
    ensemble = np.array([True, False, False, False, False, True])
    effect = ensemble_effect(members, ensemble)
    assert effect.reference == 0  # as many errors as the other: the first
    assert effect.rescued.tolist() == [False, True, False, False, True, False]
    assert effect.broken.tolist() == [False, False, False, False, False, True]
    assert effect.right_against_all.tolist() == [False, True, False, False, False, False]
    assert effect.wrong_for_all.tolist() == [True, False, False, False, False, False]
    other = ensemble_effect(members, ensemble, reference=1)
    assert other.rescued.tolist() == [False, True, True, False, False, False]


def test_the_reference_is_the_member_of_fewest_errors():
    members = np.array([[True, True, False], [False, True, False], [True, True, True]])
    assert ensemble_effect(members, members[0]).reference == 1


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_averaging_never_breaks_what_every_member_has_right(seed, members):
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.ones(4), size=(members, 40))
    labels = generator.integers(0, 4, 40)
    wrong = np.array([score_images(member, labels).wrong() for member in probs])
    fused = score_images(average_probs(list(probs)), labels).wrong()
    effect = ensemble_effect(wrong, fused)
    assert not (fused & ~wrong.any(axis=0)).any()
    # The gain in errors over the reference is what was rescued less what was broken.
    assert wrong[effect.reference].sum() - fused.sum() == effect.rescued.sum() - effect.broken.sum()


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: disagreement(np.array([1, 2])), "predicted"),
        (lambda: members_disagree(np.empty((2, 0), dtype=int)), "predicted"),
        (lambda: error_correlation(np.array([True])), "wrong"),
        (lambda: ensemble_effect(np.array([[True]]), np.array([True, False])), "ensemble_wrong"),
        (lambda: ensemble_effect(np.array([[True]]), np.array([True]), reference=1), "reference"),
        (lambda: ensemble_effect(np.array([[True]]), np.array([True]), reference=-1), "reference"),
    ],
)
def test_arguments_out_of_range_are_named(call, field):
    with pytest.raises(SpecError, match=f"^{field}: "):
        call()
