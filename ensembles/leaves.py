"""Nested means flattened: how much each prediction set weighs in a fused posterior, exactly.

A checkpoint is the mean of its modes, a mode the mean of its scales, an ensemble the weighted mean of checkpoints. All
of it is one weighted mean of leaves, the prediction sets, with rational weights.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from ensembles.errors import Problem, SpecError
from ensembles.exact_sums import WeightsLike, whole_weights
from ensembles.specs import Mode


def view_weights(modes: Sequence[Mode]) -> tuple[Fraction, ...]:
    """What each view weighs in its checkpoint's posterior: one part of its mode's equal part.

    Args:
        modes: of the V views, V at least 1, in any order.

    Returns:
        V fractions with sum 1; that `ensembles.fusion.combine_views` takes this mean is tested.

    Raises:
        SpecError: no view.
    """
    if not modes:
        raise SpecError([Problem("modes", "at least one view", 0)])
    sizes = Counter(modes)
    return tuple(Fraction(1, len(sizes) * sizes[mode]) for mode in modes)


def leaf_weights(members: Sequence[Sequence[Mode]], weights: WeightsLike | None = None) -> tuple[Fraction, ...]:
    """What each view of each member weighs in the arithmetic mean of the members.

    Args:
        members: the modes of each of M members' views.
        weights: one finite number >= 0 a member, of any sum above 0, taken at its exact value; None means equal.

    Returns:
        One fraction a view, member by member, with sum 1.

    Raises:
        SpecError: no member, a member without a view, or weights that break their rule.
    """
    whole = whole_weights([1] * len(members) if weights is None else weights, len(members))
    total = sum(whole)
    return tuple(
        Fraction(weight, total) * share
        for weight, modes in zip(whole, members, strict=True)
        for share in view_weights(modes)
    )
