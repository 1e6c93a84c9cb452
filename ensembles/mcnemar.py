"""McNemar's test: two classifiers on the same images differ only where exactly one of them is wrong.

Where both have the same error rate, each of the discordant images is as likely to be one's error as the other's,
whatever the difficulty of the images; so the smaller count is binomial with probability 1/2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binom

from ensembles.errors import Problem, SpecError

#: Images that one matrix product of `discordant_matrix` counts: float32 counts exactly up to 2^24.
_BLOCK_IMAGES = 1 << 16


@dataclass(frozen=True)
class PairedCounts:
    """Images by who answers them wrongly; the four counts add up to `n`."""

    both_wrong: int
    only_base_wrong: int
    only_candidate_wrong: int
    both_right: int

    @property
    def n(self) -> int:
        """Images scored by both."""
        return self.both_wrong + self.discordant + self.both_right

    @property
    def discordant(self) -> int:
        """Images that exactly one of the two answers wrongly."""
        return self.only_base_wrong + self.only_candidate_wrong


def paired_counts(base_wrong: NDArray[np.bool_], candidate_wrong: NDArray[np.bool_]) -> PairedCounts:
    """The 2 x 2 table of two (N,) arrays, row n of both the same image, True where wrong.

    Raises:
        SpecError: not two bool arrays (N,) of one length, N at least 1.
    """
    found = [(str(array.dtype), array.shape) for array in (base_wrong, candidate_wrong)]
    if any(array.dtype != np.bool_ or array.ndim != 1 for array in (base_wrong, candidate_wrong)) or (
        base_wrong.shape != candidate_wrong.shape
    ):
        raise SpecError([Problem("candidate_wrong", "two bool arrays over the same N images", found)])
    if not len(base_wrong):
        raise SpecError([Problem("candidate_wrong", "at least one image", 0)])
    both = int(np.count_nonzero(base_wrong & candidate_wrong))
    base, candidate = int(np.count_nonzero(base_wrong)), int(np.count_nonzero(candidate_wrong))
    return PairedCounts(both, base - both, candidate - both, len(base_wrong) - base - candidate + both)


def mcnemar_exact(only_base_wrong: ArrayLike, only_candidate_wrong: ArrayLike) -> NDArray[np.float64]:
    """Two-sided exact p of McNemar's test for each pair of counts (any shape); 1 where no image is discordant.

    It never rejects more often than its level, and for few discordant images less often.
    """
    smaller, discordant = _smaller_and_sum(only_base_wrong, only_candidate_wrong)
    return np.minimum(2 * binom.cdf(smaller, discordant, 0.5), 1.0)


def mcnemar_mid_p(only_base_wrong: ArrayLike, only_candidate_wrong: ArrayLike) -> NDArray[np.float64]:
    """Two-sided mid-p of McNemar's test: the exact p with half the weight on what was observed.

    Closer to its level than the exact test, which it may exceed slightly (Fagerland, Lydersen & Laake 2013); 1 where no
    image is discordant.
    """
    smaller, discordant = _smaller_and_sum(only_base_wrong, only_candidate_wrong)
    observed = binom.pmf(smaller, discordant, 0.5)
    # Equal counts are one outcome and not two mirrored ones, so half of it is half as much.
    weight = np.where(2 * smaller == discordant, 0.5, 1.0)
    mid_p = np.minimum(2 * binom.cdf(smaller, discordant, 0.5), 1.0) - weight * observed
    return np.where(discordant == 0, 1.0, mid_p)


def discordant_matrix(wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Images that one is wrong on and another is not, for every ordered pair of M.

    Args:
        wrong: (M, N), row m of every column the same image.

    Returns:
        (M, M); element [i, j] counts the images on which i is wrong and j is right.
    """
    counts = np.zeros((len(wrong), len(wrong)), dtype=np.int64)
    for start in range(0, wrong.shape[1], _BLOCK_IMAGES):
        block = wrong[:, start : start + _BLOCK_IMAGES].astype(np.float32)
        counts += (block @ (1 - block).T).astype(np.int64)
    return counts


def _smaller_and_sum(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = np.asarray(a, dtype=np.int64), np.asarray(b, dtype=np.int64)
    if (first < 0).any() or (second < 0).any():
        raise SpecError([Problem("discordant counts", "at least 0", int(min(first.min(), second.min())))])
    return np.minimum(first, second), first + second
