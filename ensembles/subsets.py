"""Exact top-k errors of every subset of M members under equal weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ensembles.contenders import Contenders
from ensembles.errors import Problem, SpecError
from ensembles.exact_sums import Margins, Rule

#: 2^16 - 1 subsets; each further member doubles time and answer.
MAX_EXHAUSTIVE = 16

#: More than a veto could be outweighed by: 16 members' logarithms of float32 differ by less than 16 * 104.
_VETO = 4096.0
_EPSILON = float(np.finfo(np.float64).eps)
#: Members whose subset sums are tabulated as one half, and bytes of answers held at once.
_LOW_MEMBERS, _BLOCK_BYTES = 10, 1 << 19
_MOST_IN_A_BYTE = 255


def subset_error_counts(table: Contenders, k: int = 1, rule: Rule = "mean") -> NDArray[np.int64]:
    """How many images the equally weighted fusion of each subset answers wrongly.

    Args:
        table: of M <= 16 members and N images.
        k: one of the table's `ks`.
        rule: "mean" or "geometric".

    Returns:
        (2^M,): element b is the subset of the members m with bit m set in b. Element 0, no member at all, is N.

    Raises:
        SpecError: an argument breaks its rule.
    """
    if table.members > MAX_EXHAUSTIVE:
        raise SpecError([Problem("members", f"at most {MAX_EXHAUSTIVE} for all subsets", table.members)])
    settled = int(np.count_nonzero(table.settled_wrong(k)))
    counts = np.full(1 << table.members, settled, dtype=np.int64)
    opened = table.open_images(k)
    # Images of like length stand together: the j-th entries of a block are compared at once.
    opened = opened[np.argsort(-table.lengths[opened], kind="stable")]
    margins = table.margins(rule)
    step = max(1, min(255, _BLOCK_BYTES >> table.members))  # images are counted in one byte
    for start in range(0, len(opened), step):
        counts += _block_counts(table, margins, opened[start : start + step], k)
    counts[0] = len(table)
    return counts


def subset_costs(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums (2^M,) of the costs (M,) of each subset's members, numbered as in `subset_error_counts`."""
    sums: NDArray[np.float64] = _subset_sums(costs[np.newaxis])[0]
    return sums


def subset_members(number: int) -> tuple[int, ...]:
    """The members of a subset, ascending."""
    return tuple(member for member in range(number.bit_length()) if number >> member & 1)


def _block_counts(table: Contenders, margins: Margins, opened: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Wrong answers (2^M,) on a block of images, the longest first."""
    needed = k - table.always[table.images[opened]].astype(np.int64)
    ahead = np.zeros((len(opened), 1 << table.members), dtype=np.uint8)
    at_once = np.empty((len(opened), 1 << table.members), dtype=np.bool_)
    lengths = table.lengths[opened]
    for place in range(int(lengths[0])):
        having = int(np.searchsorted(-lengths, -place))  # the first of them have an entry more than `place`
        rows = table.starts[opened[:having]] + place
        _compare(margins.take(rows), at_once[:having])
        if int(needed.max()) == 1:
            ahead[:having] |= at_once[:having].view(np.uint8)
        elif int(lengths[0]) <= _MOST_IN_A_BYTE:
            ahead[:having] += at_once[:having].view(np.uint8)
        else:
            # One byte counts: it stays where it is once it is all that is needed.
            room = ahead[:having] < np.minimum(needed[:having], 255)[:, np.newaxis].astype(np.uint8)
            ahead[:having] += at_once[:having] & room
    wrong = ahead >= needed[:, np.newaxis].astype(np.uint8)
    return np.asarray(wrong.sum(axis=0, dtype=np.uint8), dtype=np.int64)


def _compare(margins: Margins, out: NDArray[np.bool_]) -> None:
    """Whether each entry (n,) is at or ahead in each subset, into (n, 2^M)."""
    values, sizes = margins.values, margins.sizes
    if margins.vetoes.any():
        values, sizes = values - _VETO * margins.vetoes, sizes + _VETO * abs(margins.vetoes)
    members = values.shape[1]
    low = min(members, _LOW_MEMBERS)
    low_sums, high_sums = _subset_sums(values[:, :low]), _subset_sums(values[:, low:])
    # A subset is two halves; that their sum is at least 0 is one comparison, without a rounding.
    view = out.reshape(len(values), high_sums.shape[1], low_sums.shape[1])
    thresholds = -high_sums[:, :, np.newaxis]
    np.greater_equal(low_sums[:, np.newaxis, :], thresholds, out=view)
    total = sizes.sum(axis=1)
    rough = np.flatnonzero(total >= margins.exact_below)
    if len(rough):
        bounds = ((members + 6) * _EPSILON * total[rough])[:, np.newaxis, np.newaxis]
        gaps = low_sums[rough][:, np.newaxis, :] - thresholds[rough]
        entries, high, low_part = np.nonzero(abs(gaps) <= bounds)
        subsets = (high << low) + low_part
        bits = (subsets[:, np.newaxis] >> np.arange(members) & 1).astype(object)
        # The empty subset is nobody's.
        asked = subsets > 0
        for part in _chunks(np.flatnonzero(asked)):
            rows = rough[entries[part]]
            out[rows, subsets[part]] = _settled(margins, rows, bits[part])


def _settled(margins: Margins, rows: NDArray[np.int64], bits: NDArray[np.object_]) -> NDArray[np.bool_]:
    ahead = margins.settle(rows, bits)
    if margins.vetoes.shape[1]:
        balance = (margins.vetoes[rows] * bits).sum(axis=1).astype(np.int64)
        ahead = np.where(balance == 0, ahead, balance < 0)
    return ahead


def _chunks(positions: NDArray[np.int64], size: int = 4096) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def _subset_sums(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, M) to (n, 2^M): the sum of each subset's values, each sum one addition from a smaller one."""
    members = values.shape[1]
    sums = np.zeros((len(values), 1 << members), dtype=np.float64)
    for member in range(members):
        np.add(sums[:, : 1 << member], values[:, member, np.newaxis], out=sums[:, 1 << member : 2 << member])
    return sums
