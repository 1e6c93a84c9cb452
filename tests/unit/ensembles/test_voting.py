"""The majority rule and the temperature of a fused posterior."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import NonFiniteProbsError, SpecError
from ensembles.fusion import average_probs, fuse, geometric_probs, temper, vote_shares
from ensembles.metrics import top_k_errors
from ensembles.outcomes import score_images
from ensembles.protocols import FusionSpec
from tests.rational_oracle import awkward_members


def test_two_of_three_members_outvote_a_surer_third():
    members = [np.array([[0.4, 0.6]]), np.array([[0.45, 0.55]]), np.array([[1.0, 0.0]])]
    np.testing.assert_array_equal(vote_shares(members), [[1 / 3, 2 / 3]])
    assert average_probs(members).argmax() == 0
    np.testing.assert_array_equal(vote_shares(members, [1, 1, 4]), [[4 / 6, 2 / 6]])


def test_a_member_that_holds_three_classes_likeliest_divides_its_vote_and_thirds_make_a_whole():
    third = np.array([[0.3, 0.3, 0.3, 0.1]])
    votes = vote_shares([third, third, third, np.array([[0.0, 0.0, 0.0, 1.0]])])
    np.testing.assert_array_equal(votes, [[0.25, 0.25, 0.25, 0.25]])
    assert top_k_errors(votes, np.array([3])).all()


def test_a_tie_of_votes_counts_against_the_label():
    members = [np.array([[0.9, 0.1]]), np.array([[0.4, 0.6]])]
    assert top_k_errors(vote_shares(members), np.array([0])).all()
    assert not top_k_errors(vote_shares(members, [1.0, 0.5]), np.array([0])).any()


@given(awkward_members())
def test_votes_of_equal_members_order_classes_as_counting_them_in_fractions_does(made):
    members, _ = made
    votes = vote_shares(members)
    np.testing.assert_allclose(votes.sum(axis=1), 1)
    for image, row in enumerate(votes):
        counts = [Fraction(0)] * len(row)
        for member in members:
            best = np.flatnonzero(member[image] == member[image].max())
            for c in best:
                counts[c] += Fraction(1, len(best))
        assert [[a > b for b in row] for a in row] == [[a > b for b in counts] for a in counts]


def test_posteriors_that_are_none_are_refused_by_the_vote():
    with pytest.raises(NonFiniteProbsError):
        vote_shares([np.array([[0.5, 0.5]]), np.array([[np.nan, 0.5]])], [1, 0])
    with pytest.raises(SpecError):
        vote_shares([])


@pytest.mark.parametrize(
    ("rule", "function"), [("mean", average_probs), ("geometric", geometric_probs), ("vote", vote_shares)]
)
def test_a_rule_is_chosen_by_its_name(rule, function):
    members = [np.array([[0.7, 0.2, 0.1]]), np.array([[0.1, 0.6, 0.3]])]
    np.testing.assert_array_equal(fuse(FusionSpec(rule), members, [1, 2]), function(members, [1, 2]))


def test_a_temperature_divides_logarithms():
    probs = np.array([[0.7, 0.2, 0.1, 0.0]])
    expected = np.sqrt(probs) / np.sqrt(probs).sum()
    np.testing.assert_allclose(temper(probs, 2), expected)
    np.testing.assert_allclose(temper(probs, 1), probs)
    assert temper(np.array([[1e-300, 0.0]]), 0.01).tolist() == [[1.0, 0.0]]


@given(st.floats(0.01, 100), st.integers(0, 2**32 - 1))
def test_a_temperature_changes_no_answer_and_no_rank(temperature, seed):
    generator = np.random.default_rng(seed)
    probs = generator.dirichlet(np.full(7, 0.3), 20)
    probs[:, 1] = np.nextafter(probs[:, 0], 1)
    labels = generator.integers(0, 7, 20)
    plain, tempered = score_images(probs, labels), score_images(probs, labels, temperature)
    np.testing.assert_array_equal(tempered.ranks, plain.ranks)
    np.testing.assert_array_equal(tempered.predicted, plain.predicted)
    np.testing.assert_allclose(tempered.confidences, temper(probs, temperature).max(axis=1))
    assert np.isfinite(tempered.label_probs).all()


@pytest.mark.parametrize("temperature", [0, -1, float("nan"), float("inf"), True, "2", 1e9])
def test_a_temperature_that_is_none_is_refused(temperature):
    with pytest.raises(SpecError, match="temperature"):
        FusionSpec(temperature=temperature)


def test_a_fusion_without_temperature_is_written_as_before_there_was_one():
    assert FusionSpec().to_dict() == {"rule": "mean", "weights": None}
    assert FusionSpec("vote", (1.0,), 1.5).to_dict() == {"rule": "vote", "weights": [1.0], "temperature": 1.5}
    with pytest.raises(SpecError, match="geometric"):
        FusionSpec("median")
