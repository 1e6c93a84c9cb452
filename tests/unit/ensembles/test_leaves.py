"""Exact weights of nested means, and exact errors of units that are means of several prediction sets."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensembles.contenders import find_contenders
from ensembles.errors import SpecError
from ensembles.fusion import average_probs, combine_views
from ensembles.leaves import leaf_weights, view_weights
from ensembles.metrics import top_k_errors
from ensembles.specs import ViewSpec
from ensembles.subsets import subset_error_counts, subset_members
from ensembles.units import UnitContenders
from tests.rational_oracle import awkward_members, oracle_wrong

MODES = st.lists(st.sampled_from(["dense", "crops"]), min_size=1, max_size=5)


def test_a_checkpoint_of_three_dense_scales_and_one_of_crops_gives_each_mode_half():
    assert view_weights(["dense", "dense", "dense", "crops"]) == (Fraction(1, 6),) * 3 + (Fraction(1, 2),)


def test_an_ensembles_weights_are_taken_at_their_exact_value():
    weights = leaf_weights([["dense", "dense"], ["crops"]], [0.1, 0.3])
    total = Fraction(0.1) + Fraction(0.3)
    assert weights == (Fraction(0.1) / 2 / total, Fraction(0.1) / 2 / total, Fraction(0.3) / total)


@given(st.lists(MODES, min_size=1, max_size=4), st.data())
def test_leaf_weights_sum_to_one_and_give_the_nested_means(members, data):
    weights = data.draw(st.lists(st.integers(0, 4), min_size=len(members), max_size=len(members)).filter(any))
    leaves = leaf_weights(members, weights)
    assert sum(leaves) == 1
    generator = np.random.default_rng(0)
    probs = [[generator.dirichlet(np.ones(4), 3) for _ in modes] for modes in members]
    views = [[ViewSpec(mode=mode, scale=224 + i) for i, mode in enumerate(modes)] for modes in members]
    nested = average_probs([combine_views(v, p) for v, p in zip(views, probs, strict=True)], weights)
    flat = sum(float(w) * p for w, p in zip(leaves, [p for each in probs for p in each], strict=True))
    np.testing.assert_allclose(flat, nested, atol=1e-12)


@pytest.mark.parametrize(("members", "weights"), [([], None), ([[]], None), ([["dense"]], [0]), ([["dense"]], [1, 1])])
def test_nothing_to_weigh_is_refused(members, weights):
    with pytest.raises(SpecError):
        leaf_weights(members, weights)


@st.composite
def units_of(draw, leaves: int):
    """Whole weights of leaves in each of some units, as fractions with sum 1."""
    rows = draw(
        st.lists(st.lists(st.integers(0, 3), min_size=leaves, max_size=leaves).filter(any), min_size=1, max_size=4)
    )
    return [[Fraction(weight, sum(row)) for weight in row] for row in rows]


@settings(max_examples=200)
@given(awkward_members(), st.data())
def test_all_subsets_of_units_have_the_errors_of_rational_arithmetic(made, data):
    members, labels = made
    units = data.draw(units_of(len(members)))
    table = UnitContenders.of(find_contenders(members, labels), units)
    for k in (1, 5):
        counts = subset_error_counts(table, k)
        for number in range(1, len(counts)):
            chosen = subset_members(number)
            leaves = [sum(units[unit][leaf] for unit in chosen) for leaf in range(len(members))]
            expected = oracle_wrong(members, labels, leaves, k)
            assert counts[number] == sum(expected), (number, k)
            bits = [int(unit in chosen) for unit in range(len(units))]
            assert table.wrong(bits, k).tolist() == expected


@settings(max_examples=100)
@given(awkward_members(), st.data())
def test_units_of_one_leaf_each_pool_geometrically_as_rational_arithmetic_does(made, data):
    members, labels = made
    order = data.draw(st.permutations(range(len(members))))
    units = [[Fraction(int(leaf == place)) for leaf in range(len(members))] for place in order]
    table = UnitContenders.of(find_contenders(members, labels), units)
    for k in (1, 5):
        counts = subset_error_counts(table, k, "geometric")
        for number in range(1, len(counts)):
            leaves = [0] * len(members)
            for unit in subset_members(number):
                leaves[order[unit]] = 1
            assert counts[number] == sum(oracle_wrong(members, labels, leaves, k, "geometric")), (number, k)


def test_a_thousand_images_of_units_have_the_errors_of_fused_posteriors_and_so_have_some_of_them():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 30, 1000)
    shared = generator.normal(size=(1000, 30))
    shared[np.arange(1000), labels] += 2
    logits = 1.5 * (shared + 0.6 * generator.normal(size=(6, 1000, 30)))
    members = list((np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)).astype(np.float32))
    thirds, halves = [Fraction(1, 3)] * 3, [Fraction(1, 2)] * 2
    zeros = [Fraction(0)] * 6
    units = [thirds + zeros[3:], zeros[:3] + halves + zeros[:1], [*zeros[:5], Fraction(1)]]
    table = UnitContenders.of(find_contenders(members, labels), units)
    means = [average_probs(members[:3]), average_probs(members[3:5]), members[5].astype(np.float64)]
    odd = np.arange(1000) % 2 == 1
    for k in (1, 5):
        counts, some = subset_error_counts(table, k), subset_error_counts(table.take(odd), k)
        for number in range(1, 8):
            wrong = top_k_errors(average_probs([means[unit] for unit in subset_members(number)]), labels, k)
            assert counts[number] == wrong.sum()
            assert some[number] == wrong[odd].sum()


def test_a_log_pool_of_means_and_units_that_are_no_means_are_refused():
    members = [np.full((1, 2), 0.5, np.float32)] * 2
    table = find_contenders(members, np.array([0]))
    with pytest.raises(SpecError, match="mean of several"):
        subset_error_counts(UnitContenders.of(table, [[Fraction(1, 2)] * 2]), rule="geometric")
    for units in ([], [[Fraction(1)]], [[Fraction(1), Fraction(1)]], [[Fraction(2), Fraction(-1)]]):
        with pytest.raises(SpecError, match="units"):
            UnitContenders.of(table, units)
