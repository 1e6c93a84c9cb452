"""Scores of posteriors against labels. Errors are fractions in [0, 1], unrounded; ties count against the label.

The functions that answer per image work row by row, so a caller may score row blocks and concatenate.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import NonFiniteProbsError, Problem, SpecError
from ensembles.specs import is_whole_number

#: Smallest probability that enters a logarithm: one confident mistake costs 27.6 nats and not infinity.
MIN_PROB = 1e-12


def label_probs(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.floating[Any]]:
    """Each label's posterior, (N,), of the type of `probs`.

    Raises:
        SpecError: shapes or labels break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    check_labels(probs, labels)
    check_finite(probs)
    own: NDArray[np.floating[Any]] = probs[np.arange(len(labels)), labels]
    return own


def label_ranks(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.int32]:
    """How many other classes are at least as likely as each image's label, (N,) in 0..K-1; errors as `label_probs`.

    An image is wrong at top k exactly where this is at least k: at most K - 1 others exist, so for k >= K none is.
    """
    return others_at_least(probs, label_probs(probs, labels))


def others_at_least(probs: NDArray[np.floating[Any]], own: NDArray[np.floating[Any]]) -> NDArray[np.int32]:
    """`label_ranks` of posteriors known to be finite, `own` (N,) being those of the labels."""
    # Summing bools as int32 is faster than count_nonzero along an axis.
    at_least: NDArray[np.int32] = (probs >= own[:, np.newaxis]).sum(axis=1, dtype=np.int32)
    return at_least - np.int32(1)


def top_k_errors(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], k: int = 1) -> NDArray[np.bool_]:
    """Whether each image's label is outside the k classes of highest posterior.

    A class that ties with the label counts as ahead of it (Caffe's rule): a network that answers the same for every
    class is wrong, whatever the order of classes.

    Args:
        probs: (N, K).
        labels: (N,) integers in 0..K-1.
        k: at least 1; where k >= K no answer is wrong.

    Returns:
        (N,), True where wrong.

    Raises:
        SpecError: shapes, labels or k break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    check_k(k)
    return label_ranks(probs, labels) >= k


def top_k_error(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], k: int = 1) -> float:
    """The fraction of N >= 1 images whose label is outside the top k; arguments and errors as `top_k_errors`."""
    return float(_at_least_one(top_k_errors(probs, labels, k)).mean())


def negative_log_likelihoods(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Minus the logarithm of each label's posterior, (N,), nats, with posteriors below 1e-12 taken as 1e-12.

    Raises:
        SpecError: shapes or labels break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    return -np.log(np.maximum(label_probs(probs, labels).astype(np.float64), MIN_PROB))


def negative_log_likelihood(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The mean of `negative_log_likelihoods` over N >= 1 images, nats."""
    return float(_at_least_one(negative_log_likelihoods(probs, labels)).mean())


def brier_scores(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Squared distance of each row from its label's corner, (N,) in [0, 2], over all K classes (Brier 1950).

    Raises:
        SpecError: shapes or labels break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    own = label_probs(probs, labels).astype(np.float64)
    return brier_from(sums_of_squares(probs), own)


def brier_from(squares: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """`brier_scores` from the rows' `sums_of_squares` and the posteriors of their labels, both (N,)."""
    return squares - 2 * own + 1


def brier_score(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The mean of `brier_scores` over N >= 1 images."""
    return float(_at_least_one(brier_scores(probs, labels)).mean())


def sums_of_squares(probs: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """The sum of squares of each row of (N, K), taken in float64; NaN or infinite where any of its numbers is."""
    # Neither BLAS nor the order in memory may decide about the last bit: equal rows must have equal sums everywhere.
    exact = np.ascontiguousarray(probs, dtype=np.float64)
    squares: NDArray[np.float64] = np.multiply(exact, exact).sum(axis=1)
    return squares


def check_k(k: int) -> None:
    """Refuse a k of top-k that is no whole number of at least 1."""
    if not is_whole_number(k) or k < 1:
        raise SpecError([Problem("k", "a whole number of at least 1", k)])


def check_labels(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> None:
    """Refuse labels that are not (N,) class numbers of posteriors (N, K).

    Raises:
        SpecError: names the rule.
    """
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise SpecError([Problem("labels", "labels (N,) for probs (N, K)", (labels.shape, probs.shape))])
    if not np.issubdtype(labels.dtype, np.integer):
        raise SpecError([Problem("labels", "whole numbers", str(labels.dtype))])
    classes = probs.shape[1]
    outside = (labels < 0) | (labels >= classes)
    # NumPy would read -1 as the last class.
    if outside.any():
        raise SpecError([Problem("labels", f"class numbers from 0 to {classes - 1}", int(labels[outside][0]))])


def check_finite(probs: NDArray[np.floating[Any]]) -> None:
    """Refuse (N, K) with NaN or infinity, naming the first such row.

    Raises:
        NonFiniteProbsError: says how many rows.
    """
    bad_rows = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(bad_rows):
        raise NonFiniteProbsError("probs", int(bad_rows[0]), len(bad_rows))


def _at_least_one(values: NDArray[Any]) -> NDArray[Any]:
    if not len(values):
        raise SpecError([Problem("probs", "at least one image", 0)])
    return values
