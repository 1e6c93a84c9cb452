"""Soft voting: means of posteriors, over the members of an ensemble and over the views of one checkpoint.

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
