import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import NonFiniteProbsError, SpecError
from ensembles.fusion import average_probs, combine_views
from ensembles.protocols import Protocol
from ensembles.scales import TrainingScale
from ensembles.specs import ViewSpec

ROWS = [np.array([row]) for row in ([0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.5, 0.3])]


@st.composite
def member_lists(draw, dtype=np.float32):
    """M members' posteriors (N, K) of one shape."""
    members, images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 8))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    # A small concentration gives near one-hot rows, a large one near uniform rows.
    concentration = draw(st.sampled_from([0.05, 1.0, 50.0]))
    return list(generator.dirichlet([concentration] * classes, size=(members, images)).astype(dtype))


def test_the_mean_of_two_members_is_arithmetic():
    fused = average_probs([np.array([[0.98, 0.015, 0.005]]), np.array([[0.001, 0.5, 0.499]])])
    np.testing.assert_allclose(fused, [[0.4905, 0.2575, 0.252]], rtol=0, atol=1e-15)


def test_the_mean_of_three_members_is_unweighted_by_default():
    np.testing.assert_allclose(average_probs(ROWS), [[1 / 3, 13 / 30, 7 / 30]], rtol=0, atol=1e-15)


def test_weights_scale_each_member():
    np.testing.assert_allclose(average_probs(ROWS, [0.5, 0.25, 0.25]), [[0.425, 0.375, 0.2]], rtol=0, atol=1e-15)


def test_the_mean_of_posteriors_is_not_the_softmax_of_mean_logits():
    members = [_softmax([2.0, 0.0, -1.0]), _softmax([-1.0, 1.0, 0.0])]
    np.testing.assert_allclose(average_probs(members), [[0.466913, 0.389718, 0.143369]], rtol=0, atol=5e-7)


def test_after_softmax_the_majority_of_positions_wins():
    positions = [_softmax(logits) for logits in ([10.0, 0, 0], [0, 3.0, 0], [0, 3.0, 0])]
    np.testing.assert_allclose(average_probs(positions), [[0.363489, 0.606310, 0.030201]], rtol=0, atol=5e-7)


@given(member_lists())
def test_fusing_copies_of_a_member_gives_that_member_exactly(members):
    for copies in (1, 2, 3, 7):
        np.testing.assert_array_equal(average_probs([members[0]] * copies), members[0].astype(np.float64))


@given(member_lists(), st.randoms(use_true_random=False))
def test_the_order_of_members_does_not_matter(members, random):
    shuffled = random.sample(members, len(members))
    np.testing.assert_allclose(average_probs(shuffled), average_probs(members), rtol=0, atol=1e-12)


@given(member_lists(), st.data())
def test_the_order_of_weighted_members_does_not_matter(members, data):
    weights = data.draw(st.lists(st.floats(0.01, 100), min_size=len(members), max_size=len(members)))
    order = data.draw(st.permutations(range(len(members))))
    fused = average_probs([members[i] for i in order], [weights[i] for i in order])
    np.testing.assert_allclose(fused, average_probs(members, weights), rtol=0, atol=1e-12)


@given(member_lists(dtype=np.float64), st.data())
def test_every_row_sums_to_one(members, data):
    weights = data.draw(st.lists(st.floats(1e-3, 1e3), min_size=len(members), max_size=len(members)))
    for fused in (average_probs(members), average_probs(members, weights)):
        np.testing.assert_allclose(fused.sum(axis=1), 1, rtol=0, atol=1e-12)


@given(member_lists(), st.sampled_from([1e-300, 0.3, 1.0, 1e300, 1.7e308]))
def test_equal_weights_of_any_size_are_the_unweighted_mean(members, weight):
    np.testing.assert_array_equal(average_probs(members, [weight] * len(members)), average_probs(members))


@given(member_lists())
def test_a_weight_of_zero_leaves_a_member_out(members):
    with_ghost = [*members, 1 - members[0]]
    fused = average_probs(with_ghost, [1.0] * len(members) + [0.0])
    np.testing.assert_array_equal(fused, average_probs(members))


@given(member_lists())
def test_averaging_scales_then_flips_equals_flips_then_scales(scales):
    flips = [np.roll(probs, 1, axis=1) for probs in scales]
    scales_first = average_probs([average_probs(scales), average_probs(flips)])
    flips_first = average_probs([average_probs(pair) for pair in zip(scales, flips, strict=True)])
    np.testing.assert_allclose(scales_first, flips_first, rtol=0, atol=1e-12)
    np.testing.assert_allclose(scales_first, average_probs([*scales, *flips]), rtol=0, atol=1e-12)


@given(member_lists(), st.integers(1, 4))
def test_row_blocks_give_the_bits_of_the_whole(members, rows):
    blocks = [average_probs([m[start : start + rows] for m in members]) for start in range(0, len(members[0]), rows)]
    np.testing.assert_array_equal(np.concatenate(blocks), average_probs(members))


def test_float32_members_are_accumulated_in_float64():
    tiny = np.array([[2.0**-30, 1.0]], dtype=np.float32)
    fused = average_probs([tiny, np.array([[1.0, 0.0]], dtype=np.float32)])
    assert fused.dtype == np.float64
    assert fused[0, 0] == (1 + 2.0**-30) / 2


def test_members_are_left_as_they_were():
    member = ROWS[0].copy()
    average_probs([member, ROWS[1]], [2.0, 1.0])
    np.testing.assert_array_equal(member, ROWS[0])


@pytest.mark.parametrize(
    "members",
    [[], [np.ones(3)], [np.ones((2, 3)), np.ones((2, 4))], [np.ones((2, 3)), np.ones((1, 3))]],
    ids=["none", "one-dimensional", "other classes", "broadcastable rows"],
)
def test_members_without_one_common_shape_are_refused(members):
    with pytest.raises(SpecError, match=r"^members: "):
        average_probs(members)


@pytest.mark.parametrize(
    "weights",
    [[], [1.0], [1.0, 1.0, 1.0], [-1.0, 2.0], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0]],
    ids=["none", "too few", "too many", "negative", "zero sum", "NaN", "infinite"],
)
def test_weights_that_break_their_rule_are_refused(weights):
    with pytest.raises(SpecError, match=r"^fusion\.weights: "):
        average_probs(ROWS[:2], weights)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("weights", [None, [1.0, 0.0]])
def test_a_row_that_is_not_finite_is_named_and_refused(bad, weights):
    members = [np.full((5, 2), 0.5), np.full((5, 2), 0.5)]
    members[1][2] = members[1][4] = bad
    with pytest.raises(NonFiniteProbsError) as caught:
        average_probs(members, weights)
    assert (caught.value.subject, caught.value.row, caught.value.count) == ("members[1]", 2, 2)


def test_opposite_infinities_do_not_hide_each_other():
    with pytest.raises(NonFiniteProbsError):
        average_probs([np.array([[float("inf"), 0.0]]), np.array([[-float("inf"), 0.0]])])


def test_the_modes_of_a_protocol_weigh_the_same_however_many_scales_they_have():
    views = [ViewSpec("dense", 256), ViewSpec("crops", 256), ViewSpec("crops", 384), ViewSpec("crops", 512)]
    crops = [np.array([[0.4, 0.6]])] * 3
    np.testing.assert_allclose(combine_views(views, [np.array([[0.8, 0.2]]), *crops]), [[0.6, 0.4]], atol=1e-15)


def test_a_flat_mean_over_dense_and_crop_posteriors_would_answer_another_class():
    dense, crop = np.array([[0.8, 0.2]]), np.array([[0.4, 0.6]])
    nested = combine_views([ViewSpec("dense", 256), ViewSpec("crops", 256)], [dense, crop])
    flat = average_probs([dense, crop], [6, 150])
    np.testing.assert_allclose(flat, [[0.415385, 0.584615]], rtol=0, atol=5e-7)
    assert (nested.argmax(), flat.argmax()) == (0, 1)


@given(member_lists())
def test_with_as_many_scales_in_each_mode_the_nested_mean_is_the_flat_one(dense):
    crops = [np.roll(probs, 1, axis=1) for probs in dense]
    views = [ViewSpec(mode, 256 + i) for mode in ("dense", "crops") for i in range(len(dense))]
    np.testing.assert_allclose(
        combine_views(views, [*dense, *crops]), average_probs([*dense, *crops]), rtol=0, atol=1e-12
    )


@given(member_lists(), st.data())
def test_the_order_of_views_does_not_matter(probs, data):
    modes = data.draw(st.lists(st.sampled_from(["dense", "crops"]), min_size=len(probs), max_size=len(probs)))
    views = [ViewSpec(mode, 256 + i) for i, mode in enumerate(modes)]
    order = data.draw(st.permutations(range(len(probs))))
    shuffled = combine_views([views[i] for i in order], [probs[i] for i in order])
    np.testing.assert_allclose(shuffled, combine_views(views, probs), rtol=0, atol=1e-12)


def test_the_views_of_a_preset_combine_mode_by_mode():
    views = Protocol.parse("vgg-multi-scale-both").views(TrainingScale.parse("256-512"), crop=224)
    assert [view.mode for view in views] == ["dense"] * 3 + ["crops"] * 3
    one_hot = [row[np.newaxis] for row in np.eye(6)]
    np.testing.assert_allclose(combine_views(views, one_hot), np.full((1, 6), 1 / 6), rtol=0, atol=1e-15)


def test_a_view_without_posteriors_is_refused():
    with pytest.raises(SpecError, match="one array a view, 2 in all"):
        combine_views([ViewSpec("dense", 256), ViewSpec("dense", 288)], ROWS[:1])


def test_no_view_at_all_is_refused():
    with pytest.raises(SpecError):
        combine_views([], [])


def _softmax(logits):
    exponentials = np.exp(np.asarray(logits))
    return (exponentials / exponentials.sum())[np.newaxis]
