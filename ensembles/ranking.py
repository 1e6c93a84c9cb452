"""Which ranks among M classifiers the data leave open."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.mcnemar import discordant_matrix, mcnemar_exact
from ensembles.multiplicity import holm
from ensembles.statistics import confidence_problems


def better_than(wrong: NDArray[np.bool_], confidence: float = 0.95) -> NDArray[np.bool_]:
    """Which of M classifiers are better than which: exact McNemar tests of all pairs, Holm over the M (M - 1) / 2.

    Args:
        wrong: (M, N), True where wrong, every column the same image; M and N at least 1.
        confidence: 1 minus the chance of any false finding.

    Returns:
        (M, M); element [i, j] says that i is better than j.

    Raises:
        SpecError: an argument breaks its rule.
    """
    problems = confidence_problems(confidence)
    if wrong.ndim != 2 or wrong.dtype != np.bool_ or not wrong.size:
        problems.append(Problem("wrong", "bool (M, N), M and N at least 1", (str(wrong.dtype), wrong.shape)))
    if problems:
        raise SpecError(problems)
    only_row_wrong = discordant_matrix(wrong)
    first, second = np.triu_indices(len(wrong), k=1)
    # Of hundreds of classifiers, most pairs share their counts with another.
    counts = wrong.shape[1] + 1
    pairs, which = np.unique(
        only_row_wrong[first, second] * counts + only_row_wrong[second, first], return_inverse=True
    )
    p = holm(mcnemar_exact(*np.divmod(pairs, counts))[which])
    different = np.zeros(only_row_wrong.shape, dtype=np.bool_)
    different[first, second] = different[second, first] = p <= 1 - confidence
    return different & (only_row_wrong < only_row_wrong.T)


def rank_ranges(better: NDArray[np.bool_]) -> tuple[tuple[int, int], ...]:
    """The best and the worst rank that each of M classifiers can have, 1 the best.

    Args:
        better: (M, M) as from `better_than`.

    Returns:
        (best, worst) of each: it is behind all that are better, and ahead of all that it is better than.
    """
    ahead, behind = better.sum(axis=0), better.sum(axis=1)
    return tuple((1 + int(a), len(better) - int(b)) for a, b in zip(ahead, behind, strict=True))
