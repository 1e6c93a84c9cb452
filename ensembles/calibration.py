"""Whether confidence means what it says: reliability curve and expected calibration error (ECE)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.specs import is_whole_number
from ensembles.statistics import wilson_interval

Binning = Literal["width", "mass"]


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose confidence is above `low` and at most `high` (the first bin holds its `low` too).

    Attributes:
        low: lower edge.
        high: upper edge.
        n: images in the bin.
        confidence: their mean confidence; None where n is 0.
        accuracy: the share of them answered rightly; None where n is 0.
        accuracy_low: Wilson 95 % limit of `accuracy`; None where n is 0.
        accuracy_high: the upper one.
    """

    low: float
    high: float
    n: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


def reliability_curve(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15, binning: Binning = "width"
) -> tuple[ReliabilityBin, ...]:
    """Accuracy against confidence, bin by bin.

    Args:
        confidences: (N,) highest posterior of each image, N at least 1.
        right: (N,).
        bins: at least 1.
        binning: "width" cuts [0, 1] evenly (Guo et al. 2017); "mass" puts as many images in each bin as in any other,
            but for ties, which stay together and can leave fewer bins.

    Raises:
        SpecError: an argument breaks its rule.
    """
    edges = bin_edges(confidences, right, bins, binning)
    rows = _bin_numbers(confidences, edges)
    n = np.bincount(rows, minlength=len(edges) - 1)
    confidence_sums = np.bincount(rows, weights=confidences, minlength=len(edges) - 1)
    n_right = np.bincount(rows[right], minlength=len(edges) - 1)
    return tuple(
        _reliability_bin(float(edges[i]), float(edges[i + 1]), int(n[i]), float(confidence_sums[i]), int(n_right[i]))
        for i in range(len(edges) - 1)
    )


def expected_calibration_error(curve: tuple[ReliabilityBin, ...]) -> float:
    """Mean distance between confidence and accuracy, bins weighted by their images: a fraction in [0, 1]."""
    gaps = [b.n * abs(b.confidence - b.accuracy) for b in curve if b.confidence is not None and b.accuracy is not None]
    return sum(gaps) / sum(b.n for b in curve)


def calibration_gaps(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15, binning: Binning = "width"
) -> NDArray[np.float64]:
    """The ECE as a function of means over images, for `paired.compare_values`.

    Returns:
        (N, bins): each image's confidence minus its correctness (1 or 0), in the column of its bin. `gap_score` of the
        column means is the ECE.
    """
    edges = bin_edges(confidences, right, bins, binning)
    gaps = np.zeros((len(confidences), len(edges) - 1))
    gaps[np.arange(len(confidences)), _bin_numbers(confidences, edges)] = confidences - right
    return gaps


def gap_score(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """ECE (...) from the column means (..., bins) of `calibration_gaps`."""
    return np.asarray(np.abs(means).sum(axis=-1))


def bin_edges(
    confidences: NDArray[np.float64], right: NDArray[np.bool_], bins: int, binning: Binning
) -> NDArray[np.float64]:
    """Ascending edges from 0 to 1, one more than there are bins.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = []
    if confidences.ndim != 1 or not len(confidences) or right.shape != confidences.shape or right.dtype != np.bool_:
        found = (confidences.shape, right.shape, str(right.dtype))
        problems.append(Problem("right", "bool (N,) for confidences (N,), N at least 1", found))
    elif not ((confidences >= 0) & (confidences <= 1)).all():
        problems.append(Problem("confidences", "from 0 to 1", [float(confidences.min()), float(confidences.max())]))
    if not is_whole_number(bins) or bins < 1:
        problems.append(Problem("bins", "a whole number of at least 1", bins))
    if binning not in ("width", "mass"):
        problems.append(Problem("binning", 'one of "width", "mass"', binning))
    if problems:
        raise SpecError(problems)
    if binning == "width":
        return np.linspace(0, 1, bins + 1)
    # Inner edges are confidences that occur: runs of equal ones stay whole, and tie-free bins differ by one at most.
    # Image number ceil(n i / bins), in whole numbers: as fractions, 0.6 of 5 images would be more than 3.
    last_of_bin = [-(-len(confidences) * i // bins) - 1 for i in range(1, bins)]
    return np.unique(np.concatenate([[0.0], np.sort(confidences)[last_of_bin], [1.0]]))


def _bin_numbers(confidences: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.searchsorted(edges[1:-1], confidences, side="left")


def _reliability_bin(low: float, high: float, n: int, confidence_sum: float, n_right: int) -> ReliabilityBin:
    if not n:
        return ReliabilityBin(low, high, 0, None, None, None, None)
    return ReliabilityBin(low, high, n, confidence_sum / n, n_right / n, *wilson_interval(n_right, n))
