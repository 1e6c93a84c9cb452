"""Searching an ensemble honestly: some images choose it, and what is said of it says which images that rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError
from ensembles.fronts import cheapest_within, pareto_front
from ensembles.pools import Metric, Pool, Weights
from ensembles.selection import deal, select_half
from ensembles.subsets import subset_costs, subset_error_counts
from ensembles.weighting import Tried, greedy_selection, weight_search

Method = Literal["exhaustive", "greedy", "weights"]
#: How the reported number is kept from being too good: by other images than chose, by choosing anew for each fold, not.
Guard = Literal["split", "crossfit", "none"]

FOLDS = 5
_SHOWN = 10
_KS = {"top1_error": 1, "top5_error": 5}


@dataclass(frozen=True)
class Fusion:
    """One weighting, what it costs, and how often it is wrong.

    Attributes:
        weights: of the M units.
        cost: of the units with weight.
        chosen_by: the metric that the search made small, on the images that chose.
        top1_wrong: images answered wrongly, of those that report.
        top5_wrong: likewise at top 5.
    """

    weights: Weights
    cost: float
    chosen_by: float
    top1_wrong: int
    top5_wrong: int


@dataclass(frozen=True)
class Procedure:
    """How often ensembles chosen without an image are wrong on it: an estimate of the search, not of one ensemble."""

    top1_wrong: int
    top5_wrong: int


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        tried: weightings that were looked at to choose.
        n_select: images that chose.
        n_report: images that `top1_wrong` and `top5_wrong` count; the same images without a guard and in cross-fitting.
        best: the chosen fusion, then the next best.
        front: those with a smaller error than every cheaper one, on the images that chose, cheapest first.
        cheapest: the cheapest within the margin of the best, on the images that chose.
        left_out: the chosen fusion without each of its units, by unit; empty where it has only one.
        fixed: fusions that were given beforehand, not chosen.
        procedure: of cross-fitting, over all images.
        guard: that was used.
    """

    tried: int
    n_select: int
    n_report: int
    best: tuple[Fusion, ...]
    front: tuple[Fusion, ...]
    cheapest: Fusion
    left_out: dict[int, Fusion]
    fixed: tuple[Fusion, ...]
    procedure: Procedure | None
    guard: Guard

    @property
    def selection_biased(self) -> bool:
        """Whether the numbers of `best`, `front` and `cheapest` are of images that chose among several."""
        return self.guard != "split" and self.tried > 1


def search(
    pool: Pool,
    ids: Sequence[str],
    labels: NDArray[np.integer],
    *,
    method: Method = "exhaustive",
    guard: Guard = "split",
    metric: Metric = "top1_error",
    fixed: Sequence[Weights] = (),
    within: float = 0.0,
) -> SearchResult:
    """Choose weights of units.

    Args:
        pool: M units on N images.
        ids: of the images, which decide who chooses and who reports.
        labels: (N,).
        method: all subsets with equal weights (M <= 16), greedy picks, or weights on the simplex.
        guard: "split" chooses on one half and reports on the other, unbiased for the chosen ensemble; "crossfit"
            chooses on all and estimates the procedure from five folds; "none" chooses and reports on all.
        metric: what is made small; NLL not by the exhaustive method.
        fixed: weightings known beforehand, reported beside what was chosen.
        within: margin of `cheapest`, in the unit of the metric.

    Raises:
        SpecError: an argument breaks its rule.
    """
    _check(pool, ids, labels, method, guard, metric)
    if guard == "split":
        selecting = select_half(ids, labels)
        select, report = pool.take(selecting), pool.take(~selecting)
    else:
        select = report = pool
    tried = propose(select, method, metric)
    values, costs = np.array(tried.values), np.array([pool.cost(weights) for weights in tried.candidates])
    order = _ranked(tried.candidates, values, costs)
    front = pareto_front(costs, values)
    cheapest = cheapest_within(costs, values, within)
    chosen = tried.candidates[order[0]]
    without = {
        unit: tuple(0.0 if other == unit else weight for other, weight in enumerate(chosen))
        for unit, weight in enumerate(chosen)
        if weight > 0 and sum(w > 0 for w in chosen) > 1
    }
    shown = [tried.candidates[i] for i in (*order[:_SHOWN], *front, cheapest)]
    counted = _count(select, report, [*shown, *without.values(), *fixed], metric)
    return SearchResult(
        tried=tried.tried,
        n_select=len(select),
        n_report=len(report),
        best=tuple(counted[tried.candidates[i]] for i in order[:_SHOWN]),
        front=tuple(counted[tried.candidates[i]] for i in front),
        cheapest=counted[tried.candidates[cheapest]],
        left_out={unit: counted[weights] for unit, weights in without.items()},
        fixed=tuple(counted[tuple(weights)] for weights in fixed),
        procedure=_cross_fit(pool, ids, labels, method, metric) if guard == "crossfit" else None,
        guard=guard,
    )


def propose(pool: Pool, method: Method, metric: Metric) -> Tried:
    """What a method finds on the images of a pool."""
    if method == "greedy":
        return greedy_selection(pool, metric)
    if method == "weights":
        return weight_search(pool, metric)
    counts = subset_error_counts(pool.table, _KS[metric], pool.rule)[1:]
    costs = subset_costs(pool.costs)[1:]
    sizes = np.array([number.bit_count() for number in range(1, len(counts) + 1)])
    # Of 65,535 candidates those that can be shown: the best, and every one on the front.
    best = np.lexsort((np.arange(len(counts)), sizes, costs, counts))[:_SHOWN].tolist()
    by_cost = np.lexsort((sizes, counts, costs))
    falls = np.minimum.accumulate(counts[by_cost])
    front = by_cost[np.flatnonzero(np.diff(falls, prepend=len(pool) + 1) < 0)].tolist()
    kept = list(dict.fromkeys([*best, *front]))
    candidates = tuple(tuple(float((i + 1) >> unit & 1) for unit in range(pool.units)) for i in kept)
    return Tried(candidates, tuple((counts[kept] / len(pool)).tolist()), len(counts))


def _cross_fit(
    pool: Pool, ids: Sequence[str], labels: NDArray[np.integer], method: Method, metric: Metric
) -> Procedure:
    hands = deal(ids, labels, FOLDS)
    wrong = np.zeros(2, dtype=np.int64)
    for fold in range(FOLDS):
        choosing, held_out = pool.take(hands != fold), pool.take(hands == fold)
        tried = propose(choosing, method, metric)
        costs = np.array([pool.cost(weights) for weights in tried.candidates])
        chosen = tried.candidates[_ranked(tried.candidates, np.array(tried.values), costs)[0]]
        wrong += [int(held_out.wrong([chosen], k)[0]) for k in (1, 5)]
    return Procedure(*wrong.tolist())


def _ranked(candidates: Sequence[Weights], values: NDArray[np.float64], costs: NDArray[np.float64]) -> list[int]:
    """By value, then by cost, then by the number of units: of what is equally good the simplest."""
    sizes = np.array([sum(weight > 0 for weight in weights) for weights in candidates])
    return [int(i) for i in np.lexsort((np.arange(len(candidates)), sizes, costs, values))]


def _count(select: Pool, report: Pool, weightings: Sequence[Weights], metric: Metric) -> dict[Weights, Fusion]:
    once = list(dict.fromkeys(tuple(weights) for weights in weightings))
    values = select.values(once, metric).tolist()
    top1, top5 = (report.wrong(once, k).tolist() for k in (1, 5))
    return {
        weights: Fusion(weights, report.cost(weights), *numbers)
        for weights, *numbers in zip(once, values, top1, top5, strict=True)
    }


def _check(pool: Pool, ids: Sequence[str], labels: NDArray[np.integer], method: str, guard: str, metric: str) -> None:
    problems = [
        Problem(name, f"one of {', '.join(known)}", value)
        for name, value, known in (
            ("method", method, get_args(Method)),
            ("guard", guard, get_args(Guard)),
            ("metric", metric, get_args(Metric)),
        )
        if value not in known
    ]
    if method == "exhaustive" and metric == "nll":
        problems.append(Problem("metric", "top1_error or top5_error, with the exhaustive method", metric))
    if len(ids) != len(pool) or labels.shape != (len(pool),):
        problems.append(Problem("ids", f"one of each of {len(pool)} images", (len(ids), labels.shape)))
    if problems:
        raise SpecError(problems)
