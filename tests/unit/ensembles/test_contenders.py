from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ensembles.contenders import Contenders, find_contenders
from ensembles.errors import NonFiniteProbsError, PosteriorsFormatError, SpecError
from ensembles.exact_sums import whole_weights
from ensembles.fusion import average_probs, geometric_probs
from ensembles.metrics import top_k_errors
from ensembles.predictions import PosteriorPart, PosteriorParts, save_posteriors
from ensembles.subsets import subset_costs, subset_error_counts, subset_members
from tests.rational_oracle import awkward_members, oracle_wrong

RULES = st.sampled_from(["mean", "geometric"])
KS = st.sampled_from([(1,), (1, 5), (1, 2, 3), (2,)])


def correlated(images: int, classes: int, members: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, classes, images)
    shared = generator.normal(size=(images, classes))
    shared[np.arange(images), labels] += 2
    logits = 1.5 * (shared + 0.6 * generator.normal(size=(members, images, classes)))
    probs = np.exp(logits)
    return list((probs / probs.sum(axis=-1, keepdims=True)).astype(np.float32)), labels


@settings(max_examples=300)
@given(awkward_members(), KS, RULES)
def test_all_subsets_have_the_errors_of_rational_arithmetic(made, ks, rule):
    members, labels = made
    table = find_contenders(members, labels, ks=ks)
    for k in ks:
        counts = subset_error_counts(table, k, rule)
        assert counts[0] == len(labels)
        for number in range(1, len(counts)):
            bits = [number >> m & 1 for m in range(len(members))]
            assert counts[number] == sum(oracle_wrong(members, labels, bits, k, rule)), (number, k)


@settings(max_examples=300)
@given(awkward_members(), KS, st.data())
def test_any_weights_have_the_errors_of_rational_arithmetic(made, ks, data):
    members, labels = made
    table = find_contenders(members, labels, ks=ks)
    number = st.one_of(
        st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0, 1e-300, 1e300]),
        st.floats(0, 1),
        st.fractions(0, 3, max_denominator=30),
        st.integers(0, 4),
    )
    weights = data.draw(st.lists(number, min_size=len(members), max_size=len(members)).filter(any))
    for k in ks:
        expected = oracle_wrong(members, labels, weights, k)
        assert table.wrong(weights, k).tolist() == expected
        assert table.error_counts([weights, weights], k).tolist() == [sum(expected)] * 2


@settings(max_examples=200)
@given(awkward_members(), KS, st.data())
def test_whole_weights_of_the_log_pool_have_the_errors_of_rational_arithmetic(made, ks, data):
    members, labels = made
    table = find_contenders(members, labels, ks=ks)
    weights = data.draw(st.lists(st.integers(0, 4), min_size=len(members), max_size=len(members)).filter(any))
    for k in ks:
        assert table.wrong(weights, k, "geometric").tolist() == oracle_wrong(members, labels, weights, k, "geometric")


def test_many_images_and_members_have_the_errors_of_fused_posteriors():
    members, labels = correlated(700, 40, 7)
    table = find_contenders(members, labels)
    assert len(table.others) > 3000
    for k in (1, 5):
        counts, geometric = subset_error_counts(table, k), subset_error_counts(table, k, "geometric")
        for number in range(1, 128):
            chosen = [members[m] for m in subset_members(number)]
            assert counts[number] == top_k_errors(average_probs(chosen), labels, k).sum()
            assert geometric[number] == top_k_errors(geometric_probs(chosen), labels, k).sum()


def test_twelve_members_agree_with_one_weighting_at_a_time():
    members, labels = correlated(300, 30, 12)
    members[3], members[7] = members[2], members[11]
    table = find_contenders(members, labels)
    numbers = np.random.default_rng(0).integers(1, 1 << 12, 200)
    bits = [[int(number) >> m & 1 for m in range(12)] for number in numbers]
    for rule in ("mean", "geometric"):
        for k in (1, 5):
            found = subset_error_counts(table, k, rule)[numbers]
            assert found.tolist() == table.error_counts(bits, k, rule).tolist()


def test_many_weightings_at_once_answer_each_image_as_one_at_a_time(monkeypatch):
    members, labels = correlated(300, 20, 4)
    table = find_contenders(members, labels)
    monkeypatch.setattr("ensembles.contenders._BLOCK_NUMBERS", 2 * len(table.others))
    weights = [[1, 1, 1, 1], [1, 0, 0, 0], [0, 5, 2, 1], [3, 1, 0, 1], [0, 0, 0, 1]]
    for rule in ("mean", "geometric"):
        ranks = table.ranks(weights, rule)
        for k in (1, 5):
            np.testing.assert_array_equal(ranks >= k, [table.wrong(one, k, rule) for one in weights])


def test_a_tie_counts_against_the_label_and_the_smallest_change_of_a_weight_ends_it():
    members = [np.array([[0.25, 0.5, 0.25]], np.float32), np.array([[0.5, 0.25, 0.25]], np.float32)]
    table = find_contenders(members, np.array([0]))
    assert table.wrong([1, 1]).all()
    assert not table.wrong([0.1, 0.1 + 1e-16]).any()


def test_a_lead_of_the_smallest_float32_beside_one_decides():
    tiny = np.float32(1e-45)
    members = [np.array([[1, tiny]], np.float32), np.array([[0, 1]], np.float32)]
    assert find_contenders(members, np.array([0])).wrong([1, 1]).all()
    level = [np.array([[1, 0]], np.float32), np.array([[tiny, 1]], np.float32)]
    assert not find_contenders(level, np.array([0])).wrong([1, 1]).any()


def test_what_float64_sums_lose_decides_in_whatever_order():
    pairs = [(0, 1), (1e-30, 0), (1, 0)]  # label, other: the label leads by 1e-30
    for order in permutations(pairs):
        members = [np.array([pair], np.float32) for pair in order]
        table = find_contenders(members, np.array([0]))
        assert not table.wrong([1, 1, 1]).any()
        assert not table.wrong([0.3, 0.3, 0.3]).any()
        assert subset_error_counts(table)[7] == 0
        assert table.wrong([1, 1, 1], rule="geometric").tolist() == [False]


def test_sums_that_float64_rounds_past_zero_are_right_in_whatever_order():
    # The other leads by 2^-63. In the order 1, a, -1, b float64 finds that the label does.
    a = 2.0**-40 + 2.0**-60
    for order in permutations([(0, 1), (0, a), (1, 0), (a - 2.0**-63, 0)]):
        members = [np.array([pair], np.float32) for pair in order]
        table = find_contenders(members, np.array([0]))
        assert table.wrong([1, 1, 1, 1]).all()
        assert subset_error_counts(table)[15] == 1
        assert not find_contenders(members, np.array([1])).wrong([1, 1, 1, 1]).any()


def test_images_that_nothing_can_change_are_not_kept():
    sure = np.array([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]], np.float32)
    other = np.array([[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.5, 0.4]], np.float32)
    table = find_contenders([sure, other], np.array([0, 0, 1]))
    assert table.always.tolist() == [0, 1, 0]
    assert table.images.tolist() == [2]
    assert table.others.tolist() == [[np.float32(0.5), np.float32(0.4)]]
    assert table.settled_wrong(1).tolist() == [False, True, False]


def test_classes_that_a_rival_always_exceeds_are_not_kept():
    first = np.array([[0.2, 0.4, 0.3, 0.1]], np.float32)
    second = np.array([[0.4, 0.3, 0.2, 0.1]], np.float32)
    assert len(find_contenders([first, second], np.array([0]), ks=(1,)).others) == 1
    assert len(find_contenders([first, second], np.array([0]), ks=(1, 2)).others) == 2


def test_part_files_give_the_table_of_the_arrays(tmp_path):
    members, labels = correlated(9000, 12, 3)
    parts = []
    for number, probs in enumerate(members):
        cuts = [0, 1000 * (number + 1), 9000]
        pieces = []
        for start, stop in pairwise(cuts):
            path = tmp_path / f"{number}-{start}.npy"
            save_posteriors(path, probs[start:stop])
            pieces.append(PosteriorPart(start, stop, path))
        parts.append(PosteriorParts(pieces))
    assert_same(find_contenders(parts, labels), find_contenders(members, labels))


def test_a_table_of_some_images_is_that_of_their_posteriors():
    members, labels = correlated(2000, 12, 3)
    chosen = np.random.default_rng(1).random(2000) < 0.3
    expected = find_contenders([m[chosen] for m in members], labels[chosen])
    assert_same(find_contenders(members, labels).take(chosen), expected)
    broken = [m.copy() for m in members]
    for probs in broken:
        probs[~chosen] = np.nan
    assert_same(find_contenders(broken, labels, scored=chosen), expected)


def test_weights_that_are_none_are_refused():
    members, labels = correlated(5, 3, 2)
    table = find_contenders(members, labels)
    for weights in ([1], [0, 0], [1, -1], [1, float("nan")], [1, float("inf")], [1, "x"]):
        with pytest.raises(SpecError, match="weights: 2 finite numbers >= 0"):
            table.wrong(weights)
    with pytest.raises(SpecError, match="k: one of 1, 5; got 3"):
        table.wrong([1, 1], k=3)
    with pytest.raises(SpecError, match="rule: mean or geometric"):
        table.wrong([1, 1], rule="max")


def test_whole_weights_are_the_smallest_of_their_ratios():
    assert whole_weights([0.5, 0.25], 2) == (2, 1)
    assert whole_weights([Fraction(1, 3), Fraction(1, 6), 0], 3) == (2, 1, 0)


def test_posteriors_that_cannot_be_ordered_are_refused():
    members, labels = correlated(600, 3, 2)
    members[1][555, 2] = np.inf
    with pytest.raises(NonFiniteProbsError, match=r"members\[1\].*first in row 555"):
        find_contenders(members, labels)
    with pytest.raises(SpecError, match="members"):
        find_contenders([members[0], members[0][:5]], labels)
    with pytest.raises(PosteriorsFormatError, match="float32"):
        find_contenders([members[0].astype(np.float64)], labels)
    with pytest.raises(SpecError, match="class numbers"):
        find_contenders(members[:1], labels + 1)
    for ks in ((), (5, 1), (0,), (1, 1)):
        with pytest.raises(SpecError, match="ks"):
            find_contenders(members[:1], labels, ks=ks)
    with pytest.raises(SpecError, match="scored"):
        find_contenders(members[:1], labels, scored=np.ones(3, np.bool_))


def test_more_members_than_can_be_tried_are_refused():
    members, labels = correlated(2, 3, 17)
    with pytest.raises(SpecError, match="at most 16"):
        subset_error_counts(find_contenders(members, labels))


def test_costs_of_subsets_add_up():
    assert subset_costs(np.array([1.0, 10.0, 100.0])).tolist() == [0, 1, 10, 11, 100, 101, 110, 111]
    assert subset_members(5) == (0, 2)


def assert_same(found: Contenders, expected: Contenders) -> None:
    for name in ("always", "images", "starts", "own", "others"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_more_rivals_than_a_byte_counts_are_still_rivals():
    rivals = np.arange(257, dtype=np.float32) * np.float32(2.0**-20)
    # None equals another in both members, so that none can be left out.
    members = [
        np.concatenate([[np.float32(0.0)], np.float32(2.0**-8) + rivals]).astype(np.float32)[np.newaxis],
        np.concatenate([[np.float32(0.5)], np.float32(2.0**-8) - rivals]).astype(np.float32)[np.newaxis],
    ]
    table = find_contenders(members, np.array([0]))
    assert len(table.others) == 257
    assert subset_error_counts(table, 5).tolist() == [1, 1, 0, 0]
