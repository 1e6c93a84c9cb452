import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.errors import SpecError
from ensembles.scales import MAX_SIDE, TrainingScale, resized_size, score_map_side

SIDES = st.integers(1, 5000)
SCALES = st.integers(1, MAX_SIDE)
ROUNDINGS = ("trunc", "round", "ceil")

#: Image (width, height), Q, and the longer side rounded by trunc, round and ceil.
LONG_SIDES = [
    (500, 375, 224, (298, 299, 299)),
    (500, 375, 256, (341, 341, 342)),
    (500, 375, 288, (384, 384, 384)),
    (500, 375, 352, (469, 469, 470)),
    (500, 375, 384, (512, 512, 512)),
    (500, 375, 416, (554, 555, 555)),
    (500, 375, 512, (682, 683, 683)),
    (500, 333, 224, (336, 336, 337)),
    (500, 333, 256, (384, 384, 385)),
    (500, 333, 288, (432, 432, 433)),
    (500, 333, 352, (528, 529, 529)),
    (500, 333, 384, (576, 577, 577)),
    (500, 333, 416, (624, 625, 625)),
    (500, 333, 512, (768, 769, 769)),
]

#: Input (width, height), class score map with pooling rounded down, and up.
SCORE_MAPS = [
    ((224, 224), (1, 1), (1, 1)),
    ((225, 225), (1, 1), (2, 2)),
    ((255, 255), (1, 1), (2, 2)),
    ((256, 256), (2, 2), (2, 2)),
    ((257, 257), (2, 2), (3, 3)),
    ((288, 288), (3, 3), (3, 3)),
    ((352, 352), (5, 5), (5, 5)),
    ((384, 384), (6, 6), (6, 6)),
    ((416, 416), (7, 7), (7, 7)),
    ((512, 512), (10, 10), (10, 10)),
    ((341, 256), (4, 2), (5, 2)),
    ((342, 256), (4, 2), (5, 2)),
    ((384, 256), (6, 2), (6, 2)),
    ((385, 256), (6, 2), (7, 2)),
    ((512, 384), (10, 6), (10, 6)),
    ((576, 384), (12, 6), (12, 6)),
    ((577, 384), (12, 6), (13, 6)),
    ((682, 512), (15, 10), (16, 10)),
    ((768, 512), (18, 10), (18, 10)),
]


@pytest.mark.parametrize(("width", "height", "scale", "expected"), LONG_SIDES)
def test_the_longer_side_is_rounded_as_asked(width, height, scale, expected):
    for rounding, long_side in zip(ROUNDINGS, expected, strict=True):
        assert resized_size(width, height, scale, rounding) == (long_side, scale)
        assert resized_size(height, width, scale, rounding) == (scale, long_side)


@given(SIDES, SIDES, SCALES, st.sampled_from(ROUNDINGS))
def test_the_smaller_side_is_exactly_the_scale(width, height, scale, rounding):
    size = resized_size(width, height, scale, rounding)
    assert min(size) == scale
    assert (size[0] >= size[1]) == (width >= height) or size[0] == size[1]


@given(SIDES, SIDES, SCALES)
def test_the_three_roundings_bracket_the_exact_side(width, height, scale):
    short, long = sorted((width, height))
    trunc, rounded, ceil = (max(resized_size(width, height, scale, rounding)) for rounding in ROUNDINGS)
    assert trunc * short <= scale * long <= ceil * short
    assert ceil - trunc <= 1
    assert abs(2 * (rounded * short - scale * long)) <= short


@pytest.mark.parametrize(("width", "height", "scale", "long_side"), [(3, 2, 3, 5), (5, 2, 3, 8), (3, 2, 5, 8)])
def test_a_longer_side_of_exactly_one_half_is_rounded_up(width, height, scale, long_side):
    assert resized_size(width, height, scale, "round") == (long_side, scale)


@given(SIDES, SCALES, st.sampled_from(ROUNDINGS))
def test_a_square_stays_square(side, scale, rounding):
    assert resized_size(side, side, scale, rounding) == (scale, scale)


@given(SIDES, SIDES, st.sampled_from(ROUNDINGS))
def test_an_image_already_at_the_scale_keeps_its_size(width, height, rounding):
    assert resized_size(width, height, min(width, height), rounding) == (width, height)


@pytest.mark.parametrize(("image", "floor", "ceil"), SCORE_MAPS)
def test_score_maps_have_the_published_sizes(image, floor, ceil):
    assert tuple(score_map_side(side) for side in image) == floor
    assert tuple(score_map_side(side, pool_rounding="ceil") for side in image) == ceil


def test_an_image_below_the_crop_has_no_score_map_unless_pooling_rounds_up():
    assert score_map_side(223) == 0
    assert (score_map_side(223, pool_rounding="ceil"), score_map_side(300, pool_rounding="ceil")) == (1, 4)


@given(st.integers(1, 5000), st.integers(1, 10).map(lambda n: 32 * n))
def test_five_halvings_one_by_one_give_the_same_score_map(side, crop):
    floor = ceil = side
    for _ in range(5):
        floor, ceil = floor // 2, (ceil + 1) // 2
    assert score_map_side(side, crop) == floor - crop // 32 + 1
    assert score_map_side(side, crop, "ceil") == ceil - crop // 32 + 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (256, (256, 256)),
        ("256", (256, 256)),
        (" 256 - 512 ", (256, 512)),
        ("256-512", (256, 512)),
        ([256, 512], (256, 512)),
        ([384], (384, 384)),
        ((256, 256), (256, 256)),
    ],
)
def test_a_training_scale_is_read_from_each_of_its_forms(value, expected):
    scale = TrainingScale.parse(value)
    assert (scale.smallest, scale.largest) == expected
    assert scale.jittered == (expected[0] != expected[1])


@pytest.mark.parametrize(
    "value",
    ["", "abc", "256-", "-256", "256-384-512", "256.5", "512-256", 0, -1, 4097, [], [256, 384, 512], [256.5], ["256"]],
)
def test_a_value_that_is_no_training_scale_is_refused_by_field(value):
    with pytest.raises(SpecError, match=r"^training_scale: "):
        TrainingScale.parse(value)


def test_test_scales_follow_the_paper():
    fixed, jittered = TrainingScale.parse(256), TrainingScale.parse("256-512")
    assert (fixed.single_scale(), jittered.single_scale()) == (256, 384)
    assert fixed.multi_scale() == (224, 256, 288)
    assert TrainingScale.parse(384).multi_scale() == (352, 384, 416)
    assert jittered.multi_scale() == (256, 384, 512)
    assert fixed.multi_scale(step=8) == (248, 256, 264)


@pytest.mark.parametrize(("value", "text"), [(256, "256"), ("256-512", "[256;512]")])
def test_a_training_scale_is_written_as_in_the_paper(value, text):
    assert str(TrainingScale.parse(value)) == text
