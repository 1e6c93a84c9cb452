"""Error against cost: which candidates nothing cheaper beats, and the cheapest that is good enough."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError


def pareto_front(costs: NDArray[np.float64], errors: NDArray[np.float64]) -> list[int]:
    """The candidates with a lower error than every candidate that costs as much or less, cheapest first.

    Of candidates with equal cost and error the first counts.

    Args:
        costs: (C,), C at least 1.
        errors: (C,).
    """
    _check(costs, errors)
    front: list[int] = []
    for candidate in np.lexsort((np.arange(len(costs)), errors, costs)).tolist():
        if not front or errors[candidate] < errors[front[-1]]:
            front.append(candidate)
    return front


def cheapest_within(costs: NDArray[np.float64], errors: NDArray[np.float64], margin: float) -> int:
    """The cheapest candidate whose error is at most the lowest plus `margin`; of equal costs the one of less error.

    Args:
        costs: (C,), C at least 1.
        errors: (C,).
        margin: in the unit of the errors, at least 0.

    Raises:
        SpecError: a negative margin.
    """
    _check(costs, errors)
    if not margin >= 0:
        raise SpecError([Problem("within", "a number >= 0", margin)])
    good = np.flatnonzero(errors <= errors.min() + margin)
    return int(good[np.lexsort((good, errors[good], costs[good]))[0]])


def _check(costs: NDArray[np.float64], errors: NDArray[np.float64]) -> None:
    if not len(costs) or costs.shape != errors.shape:
        raise SpecError([Problem("costs", "one of each candidate, at least one", (costs.shape, errors.shape))])
