"""The arithmetic of slices, for every mixture of block sizes, frontiers and budgets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.services.leasing.slicing import Candidate, next_slice, split_point


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    """Sets of one data set at frontiers that slices can have left behind."""
    images = draw(st.integers(1, 2000))
    wanted = draw(st.integers(1, images))
    found = []
    for number in range(draw(st.integers(1, 6))):
        block = 1 << draw(st.integers(0, 6))
        stop = min(-(-wanted // block) * block, images)
        whole_blocks = [*range(0, stop, block)]
        frontier = draw(st.sampled_from(whole_blocks[: 1 + len(whole_blocks) // 2]))
        macs = draw(st.floats(1.0, 1e12))
        found.append(Candidate(f"set{number}", frontier, stop, block, macs))
    return found


BUDGETS = st.floats(0, 1e15)


@given(candidates(), BUDGETS)
def test_a_slice_begins_and_ends_on_whole_blocks_of_each_of_its_sets(sets: list[Candidate], budget: float) -> None:
    found = next_slice(sets, budget)
    by_id = {candidate.set_id: candidate for candidate in sets}
    assert found.set_ids
    for set_id in found.set_ids:
        candidate = by_id[set_id]
        assert candidate.frontier == found.start < found.stop <= candidate.stop
        assert found.stop % candidate.block == 0 or found.stop == candidate.stop


@given(candidates(), BUDGETS)
def test_a_slice_keeps_to_the_budget_unless_it_is_one_block_of_one_set(sets: list[Candidate], budget: float) -> None:
    found = next_slice(sets, budget)
    by_id = {candidate.set_id: candidate for candidate in sets}
    chosen = [by_id[set_id] for set_id in found.set_ids]
    images = found.stop - found.start
    if len(chosen) > 1 or images > chosen[0].block:
        assert sum(candidate.macs_per_image for candidate in chosen) * images <= budget * (1 + 1e-9)


@given(candidates(), BUDGETS)
def test_repeated_slices_hand_out_every_image_once(sets: list[Candidate], budget: float) -> None:
    open_sets = {candidate.set_id: candidate for candidate in sets}
    turns = 0
    while open_sets:
        found = next_slice([*open_sets.values()], budget)
        for set_id in found.set_ids:
            candidate = open_sets.pop(set_id)
            assert candidate.frontier == found.start
            if found.stop < candidate.stop:
                open_sets[set_id] = Candidate(
                    set_id, found.stop, candidate.stop, candidate.block, candidate.macs_per_image
                )
        turns += 1
        assert turns <= 6 * 2000


def test_with_room_for_everything_all_sets_that_are_behind_go_together() -> None:
    sets = [
        Candidate("dense", 0, 1000, 64, 2.0),
        Candidate("crops", 0, 1000, 1, 50.0),
        Candidate("ahead", 64, 1000, 64, 1.0),
    ]
    assert next_slice(sets, 1e9).set_ids == ("dense", "crops")
    assert next_slice(sets, 1e9).stop == 1000


def test_what_is_too_dear_waits_while_the_cheap_sets_share_their_images() -> None:
    sets = [
        Candidate("crops", 0, 1000, 1, 1e6),
        Candidate("dense", 0, 1000, 64, 10.0),
        Candidate("other", 0, 1000, 32, 20.0),
    ]
    found = next_slice(sets, 64 * 30 * 3.5)
    assert (found.set_ids, found.start, found.stop) == (("dense", "other"), 0, 192)
    alone = next_slice(sets[:1], 3.9e6)
    assert (alone.set_ids, alone.stop) == (("crops",), 3)


def test_sets_that_end_apart_are_handed_out_up_to_where_both_can_stop() -> None:
    """100 images are wanted: of a set with blocks of 64 up to 128, of one with blocks of 1 up to 100."""
    sets = [Candidate("dense", 0, 128, 64, 1.0), Candidate("crops", 0, 100, 1, 1.0)]
    first = next_slice(sets, 1e9)
    assert (set(first.set_ids), first.stop) == ({"dense", "crops"}, 64)
    rest = [Candidate("dense", 64, 128, 64, 1.0), Candidate("crops", 64, 100, 1, 1.0)]
    assert {next_slice(rest[:1], 1e9).stop, next_slice(rest[1:], 1e9).stop} == {128, 100}
    assert len(next_slice(rest, 1e9).set_ids) == 1


@pytest.mark.parametrize(
    ("images", "middle"),
    [(0, 128), (1, 128), (64, 128), (130, 192), (200, 256), (935, 960), (960, 1000), (5000, 1000)],
)
def test_a_part_is_cut_on_a_whole_block_and_keeps_at_least_one(images: int, middle: int) -> None:
    assert split_point(64, 1000, 64, images) == middle


def test_a_single_block_cannot_be_cut() -> None:
    assert split_point(0, 64, 64, 32) == 64
    assert split_point(960, 1000, 64, 1) == 1000
    assert split_point(5, 6, 1, 0) == 6
