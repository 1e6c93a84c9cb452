"""How posteriors become one: means, log pools and votes, over an ensemble's members and over a checkpoint's views.

Every function works row by row, so a caller may pass row blocks of memory maps and never hold whole prediction sets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import NonFiniteProbsError, Problem, SpecError
from ensembles.protocols import FusionSpec
from ensembles.specs import ViewSpec


def average_probs(
    members: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """The (weighted) mean of M members' posteriors: the arithmetic rule of the paper's ConvNet fusion (section 4.4).

    Args:
        members: M arrays (N, K) of one shape; row n is the same image in all of them, and no row is unreadable.
        weights: one finite number >= 0 a member, of any sum above 0; None means equal.

    Returns:
        (N, K), accumulated in float64. Fusing copies of one member gives that member exactly.

    Raises:
        SpecError: no member, unequal shapes, or weights that break their rule.
        NonFiniteProbsError: a member holds NaN or infinity, also where its weight is 0.
    """
    arrays = _checked_members(members)
    # Relative weights: huge ones cannot overflow, and equal ones of any size give the unweighted mean to the bit.
    shares = [1.0] * len(arrays) if weights is None else _relative_weights(weights, len(arrays))
    total = np.zeros(arrays[0].shape, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # inf - inf and 0 * inf end as NaN, which is reported below
        for share, probs in zip(shares, arrays, strict=True):
            total += np.multiply(probs, share, dtype=np.float64)
    if not np.isfinite(total).all():
        _raise_non_finite(arrays)
    return np.divide(total, sum(shares), out=total)


def geometric_probs(
    members: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """The normalised (weighted) geometric mean of M members' posteriors, the log pool: softmax of their mean logits.

    A zero vetoes its class. Where every class is vetoed by some member, the classes that the least weight of members
    vetoes share the posterior, by the product of what the others say of them.

    Args:
        members: M arrays (N, K) of one shape; row n is the same image in all of them, and no row is unreadable.
        weights: one finite number >= 0 a member, of any sum above 0; None means equal.

    Returns:
        (N, K) float64; rows sum to 1.

    Raises:
        SpecError: no member, unequal shapes, or weights that break their rule.
        NonFiniteProbsError: a member holds NaN or infinity, also where its weight is 0.
    """
    arrays = _checked_members(members)
    shares = [1.0] * len(arrays) if weights is None else _relative_weights(weights, len(arrays))
    logs = np.zeros(arrays[0].shape, dtype=np.float64)
    vetoes = np.zeros(arrays[0].shape, dtype=np.float64)
    for share, probs in zip(shares, arrays, strict=True):
        if not np.isfinite(probs).all():
            _raise_non_finite(arrays)
        zero = probs <= 0
        # Zeros are counted, never logged: minus infinity less minus infinity would be no number.
        logs += share / sum(shares) * np.log(np.where(zero, 1.0, probs), dtype=np.float64)
        vetoes += share * zero
    logs[vetoes > vetoes.min(axis=1, keepdims=True)] = -np.inf
    logs -= logs.max(axis=1, keepdims=True)
    pooled: NDArray[np.float64] = np.exp(logs)
    pooled /= pooled.sum(axis=1, keepdims=True)
    return pooled


def vote_shares(
    members: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Each class's share of the (weighted) votes of M members for the class they hold likeliest: the majority rule.

    A member that holds several classes likeliest divides its vote among them. Equal shares are equal to the bit for
    equal weights, so that ties count against the label as everywhere.

    Args:
        members: M arrays (N, K) of one shape; row n is the same image in all of them, and no row is unreadable.
        weights: one finite number >= 0 a member, of any sum above 0; None means equal.

    Returns:
        (N, K) float64; rows sum to 1.

    Raises:
        SpecError: no member, unequal shapes, or weights that break their rule.
        NonFiniteProbsError: a member holds NaN or infinity, also where its weight is 0.
    """
    arrays = _checked_members(members)
    shares = [1.0] * len(arrays) if weights is None else _relative_weights(weights, len(arrays))
    if not all(np.isfinite(probs).all() for probs in arrays):
        _raise_non_finite(arrays)
    likeliest = [probs == probs.max(axis=1, keepdims=True) for probs in arrays]
    parts = np.array([of_member.sum(axis=1) for of_member in likeliest])
    # Votes are counted in whole parts of a vote: a third and two thirds must sum to exactly one.
    whole = np.lcm.reduce(parts, axis=0)
    votes: NDArray[np.float64] = np.zeros(arrays[0].shape, dtype=np.float64)
    for share, of_member, divided in zip(shares, likeliest, parts, strict=True):
        votes += of_member * (share * (whole // divided))[:, np.newaxis]
    votes /= (sum(shares) * whole)[:, np.newaxis]
    return votes


def fuse(
    spec: FusionSpec, members: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float64]:
    """Members' posteriors fused by a rule, before its temperature.

    Args:
        spec: names the rule.
        members: M arrays (N, K) of one shape.
        weights: of the members; None means equal.

    Raises:
        SpecError: no member, unequal shapes, or weights that break their rule.
        NonFiniteProbsError: a member holds NaN or infinity.
    """
    return _RULES[spec.rule](members, weights)


def temper(probs: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.float64]:
    """Posteriors at a temperature T > 0: softmax of their logarithms divided by T; zeros stay zeros.

    Above 1 they become less sure, below 1 surer. No class overtakes another, so errors are those of `probs`, except
    that two classes closer than a rounding may become equal: count errors before.

    Args:
        probs: (N, K), finite, each row with a number above 0.
        temperature: T, a finite number above 0.

    Returns:
        (N, K); rows sum to 1.

    Raises:
        SpecError: T breaks its rule.
    """
    FusionSpec(temperature=temperature)
    # Divided by the largest first: a power of a small number would be 0 in every class.
    ratios = np.asarray(probs, dtype=np.float64) / probs.max(axis=1, keepdims=True)
    powers: NDArray[np.float64] = ratios ** (1 / temperature)
    powers /= powers.sum(axis=1, keepdims=True)
    return powers


def combine_views(views: Sequence[ViewSpec], probs: Sequence[NDArray[np.floating[Any]]]) -> NDArray[np.float64]:
    """One checkpoint's posteriors from those of its views: mean over the scales of a mode, then the mean of the modes.

    The nesting matters (paper, table 5): a flat mean over V views, or over 6 dense and 150 crop posteriors, would let
    the mode with more of them decide.

    Args:
        views: V views, as `Protocol.views` lists them; only their modes are read.
        probs: V arrays (N, K), in the order of `views`.

    Returns:
        (N, K) float64.

    Raises:
        SpecError: no view, another number of arrays than views, or unequal shapes.
        NonFiniteProbsError: NaN or infinity in a view.
    """
    if len(views) != len(probs):
        raise SpecError([Problem("probs", f"one array a view, {len(views)} in all", len(probs))])
    _checked_members(probs)
    modes = dict.fromkeys(view.mode for view in views)
    return average_probs(
        [average_probs([p for view, p in zip(views, probs, strict=True) if view.mode == mode]) for mode in modes]
    )


def _checked_members(members: Sequence[NDArray[np.floating[Any]]]) -> list[NDArray[np.floating[Any]]]:
    arrays = [np.asarray(member) for member in members]
    shapes = [array.shape for array in arrays]
    if not arrays:
        raise SpecError([Problem("members", "at least one array of posteriors", 0)])
    if len(shapes[0]) != 2 or len(set(shapes)) > 1:
        raise SpecError([Problem("members", "arrays (N, K) of one shape", shapes)])
    return arrays


def _relative_weights(weights: Sequence[float], members: int) -> list[float]:
    spec = FusionSpec(weights=tuple(float(weight) for weight in weights))
    if spec.weights is None or len(spec.weights) != members:
        raise SpecError([Problem("fusion.weights", f"one weight a member, {members} in all", list(weights))])
    largest = max(spec.weights)
    return [weight / largest for weight in spec.weights]


def _raise_non_finite(arrays: Sequence[NDArray[np.floating[Any]]]) -> None:
    for position, array in enumerate(arrays):
        bad_rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(bad_rows):
            raise NonFiniteProbsError(f"members[{position}]", int(bad_rows[0]), len(bad_rows))


_RULES = {"mean": average_probs, "geometric": geometric_probs, "vote": vote_shares}
