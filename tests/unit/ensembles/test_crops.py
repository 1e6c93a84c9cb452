import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensembles.crops import crop_corners, grid_offsets

#: Image side -> offsets of the 5 x 5 grid of 224 px crops.
OFFSETS = {
    224: (0, 0, 0, 0, 0),
    256: (0, 8, 16, 24, 32),
    288: (0, 16, 32, 48, 64),
    298: (0, 18, 37, 56, 74),
    341: (0, 29, 58, 88, 117),
    384: (0, 40, 80, 120, 160),
    512: (0, 72, 144, 216, 288),
    576: (0, 88, 176, 264, 352),
    682: (0, 114, 229, 344, 458),
    683: (0, 114, 229, 345, 459),
    768: (0, 136, 272, 408, 544),
}
SLACKS = st.integers(0, 4000)
POSITIONS = st.integers(2, 9)


@pytest.mark.parametrize(("side", "expected"), OFFSETS.items())
def test_grid_offsets_are_the_published_ones(side, expected):
    assert grid_offsets(side - 224) == expected


@given(SLACKS, POSITIONS)
def test_the_grid_is_mirror_symmetric(slack, positions):
    offsets = grid_offsets(slack, positions)
    for i in range(positions):
        if 2 * i != positions - 1:
            assert offsets[i] + offsets[-1 - i] == slack
    if positions % 2:
        assert offsets[positions // 2] == slack // 2


@given(SLACKS, POSITIONS)
def test_the_grid_ascends_from_corner_to_corner_in_equal_steps(slack, positions):
    offsets = grid_offsets(slack, positions)
    assert len(offsets) == positions
    assert (offsets[0], offsets[-1]) == (0, slack)
    assert list(offsets) == sorted(offsets)
    assert all(abs(offset - i * slack / (positions - 1)) < 1 for i, offset in enumerate(offsets))


@given(st.integers(4, 500), st.integers(4, 500))
def test_twenty_five_crops_are_distinct_from_a_slack_of_four(slack_x, slack_y):
    assert len(set(crop_corners(224 + slack_x, 224 + slack_y, 224))) == 25


@given(st.integers(0, 250).map(lambda n: 2 * n), st.integers(0, 500), st.sampled_from([2, 3, 5, "ten"]))
def test_mirroring_the_image_maps_the_crops_onto_each_other_when_the_slack_is_even(slack_x, slack_y, grid):
    corners = crop_corners(224 + slack_x, 224 + slack_y, 224, grid)
    assert sorted((slack_x - x, y) for x, y in corners) == sorted(corners)


@given(st.integers(0, 500), st.integers(0, 500), st.sampled_from([2, 3, 5, 9, "center", "ten"]))
def test_every_crop_lies_inside_the_image(slack_x, slack_y, grid):
    corners = crop_corners(32 + slack_x, 32 + slack_y, 32, grid)
    assert len(corners) == {"center": 1, "ten": 5}.get(grid, grid if isinstance(grid, str) else grid**2)
    assert all(0 <= x <= slack_x and 0 <= y <= slack_y for x, y in corners)


def test_grid_corners_run_row_by_row():
    assert crop_corners(256, 232, 224, grid=2) == ((0, 0), (32, 0), (0, 8), (32, 8))


def test_ten_crops_are_the_four_corners_and_the_centre():
    assert crop_corners(288, 256, 224, "ten") == ((0, 0), (64, 0), (0, 32), (64, 32), (32, 16))


@pytest.mark.parametrize(("slack", "offset"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2), (7, 4)])
def test_the_centre_crop_rounds_half_to_even(slack, offset):
    assert crop_corners(224 + slack, 224, 224, "center") == ((offset, 0),)
    assert crop_corners(224, 224 + slack, 224, "center") == ((0, offset),)
