"""Weights of M units: picked greedily, moved by errors, or the likeliest of all."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.pools import Metric, Pool, Weights
from ensembles.specs import is_whole_number

#: Picks of the greedy search: with replacement, so this is also the finest weight.
GREEDY_STEPS = 32
#: Weights by error are multiples of one part of this.
PARTS = 64

_EM_ROUNDS, _EM_GAP = 2000, 1e-7


@dataclass(frozen=True)
class Tried:
    """What a search looked at.

    Attributes:
        candidates: weightings worth showing, each once.
        values: of the metric that was made small, in their order.
        tried: weightings that were looked at in all.
    """

    candidates: tuple[Weights, ...]
    values: tuple[float, ...]
    tried: int


class Trials:
    """Looks at weightings, each once, and remembers their values."""

    def __init__(self, pool: Pool, metric: Metric) -> None:
        self.pool = pool
        self.metric = metric
        self.known: dict[Weights, float] = {}

    def values(self, weightings: Iterable[Weights]) -> list[float]:
        """Of each weighting, what was asked before included."""
        asked = [_reduced(weights) for weights in weightings]
        fresh = [weights for weights in dict.fromkeys(asked) if weights not in self.known]
        if fresh:
            self.known |= zip(fresh, self.pool.values(fresh, self.metric).tolist(), strict=True)
        return [self.known[weights] for weights in asked]

    def result(self, candidates: Iterable[Weights]) -> Tried:
        """Some of what was looked at, and how much it was."""
        kept = tuple(dict.fromkeys(map(_reduced, candidates)))
        return Tried(kept, tuple(self.values(kept)), len(self.known))


def greedy_selection(pool: Pool, metric: Metric, steps: int = GREEDY_STEPS) -> Tried:
    """Forward selection with replacement (Caruana et al. 2004, "Ensemble selection from libraries of models").

    Each step picks the unit that makes the mean of all picks best, again if need be; of equal ones the first. How often
    a unit was picked is its weight.

    Args:
        pool: on the images that choose.
        metric: what is made small.
        steps: picks, at least 1.

    Returns:
        The picks after each step.

    Raises:
        SpecError: an argument breaks its rule.
    """
    if not is_whole_number(steps) or steps < 1:
        raise SpecError([Problem("steps", "a whole number of at least 1", steps)])
    trials = Trials(pool, metric)
    picks: Weights = (0.0,) * pool.units
    path: list[Weights] = []
    for _ in range(steps):
        options = [_added(picks, unit, 1.0) for unit in range(pool.units)]
        picks = options[int(np.argmin(trials.values(options)))]
        path.append(picks)
    return trials.result(path)


def weight_search(pool: Pool, metric: Metric) -> Tried:
    """Weights on the simplex: those of the greatest likelihood and, of an error, those that no exchange improves.

    The likeliest weights of a mean are a global optimum. An error is a staircase with many floors: from the best of
    single units, equal weights and the likeliest ones, weight moves from one unit to another in steps of a quarter of
    it down to one part in 64, as long as that helps. What it ends at is a local optimum, no more.

    Args:
        pool: on the images that choose.
        metric: what is made small.

    Raises:
        SpecError: NLL of the log pool.
    """
    trials = Trials(pool, metric)
    singles = [_added((0.0,) * pool.units, unit, float(PARTS)) for unit in range(pool.units)]
    starts = [*singles, (1.0,) * pool.units]
    if pool.rule == "mean":
        starts.append(tuple(likeliest_weights(pool.own).tolist()))
    values = trials.values(starts)
    if metric == "nll":
        return trials.result(starts)
    start = starts[int(np.argmin(values))]
    best = _in_parts(start)
    trials.values([best])
    step = PARTS // 4
    while step:
        moves = [
            _added(_added(best, source, -step), target, step)
            for source in range(pool.units)
            if best[source] >= step
            for target in range(pool.units)
            if target != source
        ]
        found = trials.values(moves)
        if moves and min(found) < trials.values([best])[0]:
            best = moves[int(np.argmin(found))]
        else:
            step //= 2
    return trials.result([*starts, best])


def likeliest_weights(own: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weights of a mean of posteriors under which the labels are likeliest, by expectation maximisation.

    NLL is convex in the weights. Rounds end when it provably is within 1e-7 nats of the optimum, or after 2,000.

    Args:
        own: (N, M), posteriors of the labels; images that no unit gives any chance say nothing.

    Returns:
        (M,) >= 0, with sum 1.
    """
    said = own[own.max(axis=1) > 0]
    weights: NDArray[np.float64] = np.full(own.shape[1], 1 / own.shape[1])
    if not len(said):
        return weights
    for _ in range(_EM_ROUNDS):
        gains = (said / (said @ weights)[:, np.newaxis]).mean(axis=0)
        # By concavity nothing is better by more than the largest gain less 1.
        if gains.max() - 1 < _EM_GAP:
            break
        weights = weights * gains
        weights /= weights.sum()
    return weights


def _added(weights: Weights, unit: int, amount: float) -> Weights:
    return (*weights[:unit], weights[unit] + amount, *weights[unit + 1 :])


def _reduced(weights: Weights) -> Weights:
    """Whole weights in smallest numbers: what has the same ratios is the same fusion."""
    if not all(float(weight).is_integer() for weight in weights):
        return weights
    divisor = math.gcd(*(int(weight) for weight in weights)) or 1
    return tuple(weight / divisor for weight in weights)


def _in_parts(weights: Weights) -> Weights:
    """Whole parts of 64 in nearly the same ratios: the largest remainders are rounded up."""
    exact = np.array(weights) * PARTS / sum(weights)
    parts = np.floor(exact)
    short = PARTS - int(parts.sum())
    parts[np.argsort(parts - exact, kind="stable")[:short]] += 1
    return tuple(parts.tolist())
