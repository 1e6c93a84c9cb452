"""What one pass over posteriors leaves of each image: a few numbers, from which every score follows.

Posteriors (N, K) of 50,000 images and 1,000 classes are 200 MB in float32, their outcomes 1.8 MB. So a prediction set
is read once, block by block, and errors, calibration, confusion and comparisons are taken from the outcomes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.fusion import temper
from ensembles.metrics import (
    MIN_PROB,
    brier_from,
    check_finite,
    check_k,
    check_labels,
    others_at_least,
    sums_of_squares,
)

#: A row of `ImageOutcomes.to_array`, named after its attributes.
OUTCOME_DTYPE = np.dtype(
    [
        ("labels", "<i4"),
        ("ranks", "<i4"),
        ("predicted", "<i4"),
        ("label_probs", "<f8"),
        ("confidences", "<f8"),
        ("brier_scores", "<f8"),
    ]
)


@dataclass(frozen=True, eq=False)
class ImageOutcomes:
    """How N images were answered.

    Attributes:
        labels: (N,) int32, the true classes.
        ranks: (N,) int32, other classes at least as likely as the label; 0 where right.
        predicted: (N,) int32, the class of highest posterior; of a tie that holds the label, another than the label, so
            that an image is right exactly where `predicted` is its label.
        label_probs: (N,) float64, posterior of the label.
        confidences: (N,) float64, highest posterior.
        brier_scores: (N,) float64 in [0, 2].
    """

    labels: NDArray[np.int32]
    ranks: NDArray[np.int32]
    predicted: NDArray[np.int32]
    label_probs: NDArray[np.float64]
    confidences: NDArray[np.float64]
    brier_scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.labels)

    def wrong(self, k: int = 1) -> NDArray[np.bool_]:
        """(N,), True where the label is outside the top k; a tie counts against it."""
        check_k(k)
        return self.ranks >= k

    def negative_log_likelihoods(self) -> NDArray[np.float64]:
        """(N,) nats, posteriors below 1e-12 taken as 1e-12."""
        return -np.log(np.maximum(self.label_probs, MIN_PROB))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> ImageOutcomes:
        """Those of some images, by row numbers or a mask."""
        return ImageOutcomes(*(getattr(self, field.name)[rows] for field in fields(self)))

    def to_array(self) -> NDArray[np.void]:
        """One structured array (N,) of `OUTCOME_DTYPE`, to be stored as a single `.npy` file."""
        array = np.empty(len(self), dtype=OUTCOME_DTYPE)
        for field in fields(self):
            array[field.name] = getattr(self, field.name)
        return array

    @classmethod
    def from_array(cls, array: NDArray[np.void]) -> ImageOutcomes:
        """The inverse of `to_array`.

        Raises:
            SpecError: another type or shape.
        """
        if array.dtype != OUTCOME_DTYPE or array.ndim != 1:
            raise SpecError([Problem("outcomes", f"(N,) of {OUTCOME_DTYPE}", (str(array.dtype), array.shape))])
        return cls(*(np.ascontiguousarray(array[field.name]) for field in fields(cls)))

    @classmethod
    def concatenate(cls, blocks: Sequence[ImageOutcomes]) -> ImageOutcomes:
        """Blocks of images, at least one, put behind one another."""
        if not blocks:
            raise SpecError([Problem("blocks", "at least one", 0)])
        return cls(*(np.concatenate([getattr(block, field.name) for block in blocks]) for field in fields(cls)))


def score_images(
    probs: NDArray[np.floating[Any]], labels: NDArray[np.integer[Any]], temperature: float | None = None
) -> ImageOutcomes:
    """Outcomes of a block of images; those of blocks of any size, concatenated, are those of the whole.

    Args:
        probs: (N, K) finite, such as a block of a memory map; a thousand rows or so at a time are fastest.
        labels: (N,) integers in 0..K-1.
        temperature: at which confidences and the like are taken; ranks and predictions are those of `probs`.

    Raises:
        SpecError: shapes or labels break a rule.
        NonFiniteProbsError: a row holds NaN or infinity.
    """
    check_labels(probs, labels)
    if temperature is not None:
        plain = score_images(probs, labels)
        tempered = score_images(temper(probs, temperature), labels)
        return replace(tempered, ranks=plain.ranks, predicted=plain.predicted)
    squares = sums_of_squares(probs)
    # A sum of squares is finite only where every number is: the rows need not be read again to know.
    if not np.isfinite(squares).all():
        check_finite(probs)
    own = probs[np.arange(len(labels)), labels]
    ranks = others_at_least(probs, own)
    predicted = labels.astype(np.int32)
    confidences = own.astype(np.float64)
    wrong = np.flatnonzero(ranks)
    others = probs[wrong]
    others[np.arange(len(wrong)), labels[wrong]] = -1  # below any posterior
    predicted[wrong] = others.argmax(axis=1)
    confidences[wrong] = others.max(axis=1)
    exact_own = own.astype(np.float64)
    return ImageOutcomes(
        labels=labels.astype(np.int32),
        ranks=ranks,
        predicted=predicted,
        label_probs=exact_own,
        confidences=confidences,
        brier_scores=brier_from(squares, exact_own),
    )
