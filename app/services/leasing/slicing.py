"""How much work one lease takes: which sets, and which range of images. Plain arithmetic, no rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A set that has images left to hand out.

    Attributes:
        set_id: of the prediction set.
        frontier: where the next part begins; a multiple of `block`.
        stop: where what is wanted ends; a multiple of `block`, or the set's end.
        block: images of a whole batch, a power of two.
        macs_per_image: mean cost, multiply-accumulates.
    """

    set_id: str
    frontier: int
    stop: int
    block: int
    macs_per_image: float


@dataclass(frozen=True)
class Slice:
    """Images [start, stop) of several sets."""

    start: int
    stop: int
    set_ids: tuple[str, ...]


def next_slice(candidates: Sequence[Candidate], macs_budget: float) -> Slice:
    """The range of images to hand out next, for as many sets as the budget allows.

    The sets that are furthest behind go first, the cheapest of them before dearer ones: what shares a slice shares the
    decoding of its images. A part begins and ends where every set of the slice has a whole block, or its end. However
    small the budget, one set gets one block.

    Args:
        candidates: one or more.
        macs_budget: what the worker computes in the time a slice should take, multiply-accumulates.
    """
    start = min(candidate.frontier for candidate in candidates)
    behind = sorted(
        (candidate for candidate in candidates if candidate.frontier == start),
        key=lambda candidate: (candidate.macs_per_image, candidate.set_id),
    )
    chosen = behind[:1]
    for candidate in behind[1:]:
        wider = [*chosen, candidate]
        block, end = _block(wider), _common_end(wider)
        if end > start and _macs_per_image(wider) * min(block, end - start) <= macs_budget:
            chosen = wider
    block, end = _block(chosen), _common_end(chosen)
    blocks = max(1, int(macs_budget / max(_macs_per_image(chosen), 1.0)) // block)
    return Slice(start, min(start + blocks * block, end), tuple(candidate.set_id for candidate in chosen))


def split_point(start: int, stop: int, block: int, images: int) -> int:
    """Where a part of more than `images` images is cut: on a whole block, `stop` where it cannot be.

    Args:
        start: first image of the part, a multiple of `block`.
        stop: its end.
        block: images of a whole batch.
        images: how many to keep, at least one block.
    """
    return min(stop, start + max(1, images // block) * block)


def _block(sets: Sequence[Candidate]) -> int:
    """Blocks are powers of two: a multiple of the largest is one of each."""
    return max(candidate.block for candidate in sets)


def _macs_per_image(sets: Sequence[Candidate]) -> float:
    return sum(candidate.macs_per_image for candidate in sets)


def _common_end(sets: Sequence[Candidate]) -> int:
    """The furthest point that is wanted of every set and on a whole block of each, or at the end of each."""
    end = min(candidate.stop for candidate in sets)
    if all(candidate.stop == end or end % candidate.block == 0 for candidate in sets):
        return end
    return end // _block(sets) * _block(sets)
