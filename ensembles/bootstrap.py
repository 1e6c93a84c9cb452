"""The bootstrap over images: how a score would vary had other images of the same kind been drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.specs import is_whole_number

#: Bytes of float64 counts that are drawn at once.
_BLOCK_BYTES = 1 << 24


def bootstrap_means(values: NDArray[np.floating[Any]], resamples: int, seed: int = 0) -> NDArray[np.float64]:
    """Means of resampled images: one multinomial draw of how often each image occurs is shared by all columns.

    Columns that belong to two classifiers are therefore resampled together, which is what makes a comparison paired.

    Args:
        values: (N, C), C numbers an image, finite, N at least 1.
        resamples: R, at least 1.
        seed: at least 0; the same seed gives the same draws.

    Returns:
        (R, C) float64.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = []
    if values.ndim != 2 or not len(values):
        problems.append(Problem("values", "(N, C), at least one image", values.shape))
    elif not np.isfinite(values).all():
        problems.append(Problem("values", "finite numbers", "NaN or infinity"))
    problems += [
        Problem(name, f"a whole number of at least {least}", number)
        for name, number, least in (("resamples", resamples, 1), ("seed", seed, 0))
        if not is_whole_number(number) or number < least
    ]
    if problems:
        raise SpecError(problems)
    columns = np.asarray(values, dtype=np.float64)
    return np.concatenate([counts @ columns for counts in _counts(len(values), resamples, seed)]) / len(values)


def percentile_interval(samples: NDArray[np.float64], confidence: float) -> tuple[float, float]:
    """The central `confidence` of (R,) bootstrap samples."""
    low, high = np.quantile(samples, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bootstrap_p(samples: NDArray[np.float64]) -> float:
    """Two-sided p of the hypothesis that what (R,) samples estimate is 0; at least 2 / (R + 1).

    Twice the share of samples on the far side of 0, the observed value counted as one of them.
    """
    far_side = min(np.count_nonzero(samples <= 0), np.count_nonzero(samples >= 0))
    return min(1.0, 2 * (far_side + 1) / (len(samples) + 1))


def _counts(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each of n images occurs in each resample: blocks (at most R, n), rows multinomial(n, 1/n)."""
    random = np.random.default_rng(seed)
    rows = max(1, _BLOCK_BYTES // (8 * n))
    for start in range(0, resamples, rows):
        # Counting n draws is the same multinomial as Generator.multinomial's, ten times faster at equal chances.
        draws = [np.bincount(random.integers(0, n, n), minlength=n) for _ in range(min(rows, resamples - start))]
        yield np.array(draws, dtype=np.float64)
