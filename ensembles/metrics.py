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
    if not is_whole_number(k) or k < 1:
        raise SpecError([Problem("k", "a whole number of at least 1", k)])
    own = _probs_of_labels(probs, labels)
    others_ahead = np.count_nonzero(probs >= own[:, np.newaxis], axis=1) - 1
    # At most K - 1 others exist, so k >= K needs no case of its own.
    return np.asarray(others_ahead >= k)


def top_k_error(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], k: int = 1) -> float:
    """The fraction of N >= 1 images whose label is outside the top k; arguments and errors as `top_k_errors`."""
    return float(_at_least_one(top_k_errors(probs, labels, k)).mean())


def negative_log_likelihoods(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Minus the logarithm of each label's posterior, (N,), nats, with posteriors below 1e-12 taken as 1e-12.

    Raises:
        SpecError: shapes or labels break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    return -np.log(np.maximum(_probs_of_labels(probs, labels).astype(np.float64), MIN_PROB))


def negative_log_likelihood(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> float:
    """The mean of `negative_log_likelihoods` over N >= 1 images, nats."""
    return float(_at_least_one(negative_log_likelihoods(probs, labels)).mean())


def _probs_of_labels(probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]]) -> NDArray[np.floating[Any]]:
    if probs.ndim != 2 or labels.shape != probs.shape[:1]:
        raise SpecError([Problem("labels", "labels (N,) for probs (N, K)", (labels.shape, probs.shape))])
    if not np.issubdtype(labels.dtype, np.integer):
        raise SpecError([Problem("labels", "whole numbers", str(labels.dtype))])
    classes = probs.shape[1]
    outside = (labels < 0) | (labels >= classes)
    # NumPy would read -1 as the last class.
    if outside.any():
        raise SpecError([Problem("labels", f"class numbers from 0 to {classes - 1}", int(labels[outside][0]))])
    bad_rows = np.flatnonzero(~np.isfinite(probs).all(axis=1))
    if len(bad_rows):
        raise NonFiniteProbsError("probs", int(bad_rows[0]), len(bad_rows))
    own: NDArray[np.floating[Any]] = probs[np.arange(len(labels)), labels]
    return own


def _at_least_one(values: NDArray[Any]) -> NDArray[Any]:
    if not len(values):
        raise SpecError([Problem("probs", "at least one image", 0)])
    return values
