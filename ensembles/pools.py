"""What a search asks: the exact errors, the likelihood and the cost of any weighting of M units, on N images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ensembles.contenders import find_contenders
from ensembles.errors import Problem, SpecError
from ensembles.exact_sums import Rule
from ensembles.metrics import MIN_PROB
from ensembles.predictions import PosteriorParts
from ensembles.units import UnitContenders

#: What a search makes as small as it can.
Metric = Literal["top1_error", "top5_error", "nll"]
Weights = tuple[float, ...]

_KS = {"top1_error": 1, "top5_error": 5}
_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Pool:
    """M units on N images.

    Attributes:
        table: of exact errors at top 1 and top 5.
        own: (N, M) float64, the posterior of each label in each unit.
        costs: (M,), such as GMAC an image; a fusion costs what its units with weight cost.
        rule: of the fusion.
    """

    table: UnitContenders
    own: NDArray[np.float64]
    costs: NDArray[np.float64]
    rule: Rule = "mean"

    def __len__(self) -> int:
        return len(self.table)

    @property
    def units(self) -> int:
        """M."""
        return self.table.members

    def take(self, chosen: NDArray[np.bool_]) -> Pool:
        """Those of some images, by a mask (N,)."""
        return Pool(self.table.take(chosen), self.own[chosen], self.costs, self.rule)

    def wrong(self, weightings: Sequence[Weights], k: int) -> NDArray[np.int64]:
        """How many images each of C fusions answers wrongly at top k, (C,)."""
        return self.table.error_counts(weightings, k, self.rule)

    def values(self, weightings: Sequence[Weights], metric: Metric) -> NDArray[np.float64]:
        """The metric of each of C fusions, (C,): an error is a fraction, NLL is in nats.

        Raises:
            SpecError: no such metric, or NLL of the log pool, which the label's posteriors alone do not give.
        """
        if metric in _KS:
            return self.wrong(weightings, _KS[metric]) / len(self)
        if metric != "nll":
            raise SpecError([Problem("metric", f"one of {', '.join(get_args(Metric))}", metric)])
        if self.rule != "mean":
            raise SpecError([Problem("metric", "an error, with the geometric rule", metric)])
        table = np.array(weightings, dtype=np.float64)
        shares = table / table.sum(axis=1, keepdims=True)
        return np.array([-np.log(np.maximum(self.own @ share, MIN_PROB)).mean() for share in shares])

    def cost(self, weights: Weights) -> float:
        """Of all units with weight."""
        return float(self.costs[np.array(weights) > 0].sum())


def make_pool(
    leaves: Sequence[PosteriorParts | NDArray[np.float32]],
    labels: NDArray[np.integer],
    units: Sequence[Sequence[Fraction]],
    costs: Sequence[float],
    scored: NDArray[np.bool_] | None = None,
    rule: Rule = "mean",
) -> Pool:
    """Read L prediction sets once each for the errors, and their labels' posteriors once more.

    Args:
        leaves: L prediction sets (N, K) of the same images and classes.
        labels: (N,).
        units: M rows of L weights with sum 1: what each leaf weighs in each unit.
        costs: of the M units.
        scored: (N,), the images to keep; None means all.
        rule: of the fusion; geometric only where each unit is one leaf.

    Raises:
        SpecError: shapes, labels, units or costs that break a rule, or no image.
        PosteriorsFormatError: an array that is not float32.
        NonFiniteProbsError: NaN or infinity in the row of a scored image.
    """
    mask = np.ones(len(labels), np.bool_) if scored is None else scored
    table = UnitContenders.of(find_contenders(leaves, labels, mask), units)
    if not len(table):
        raise SpecError([Problem("scored", "at least one image", 0)])
    if len(costs) != table.members or not all(0 <= cost < float("inf") for cost in costs):
        raise SpecError([Problem("costs", f"{table.members} finite numbers >= 0", list(costs))])
    shares = np.array([[float(share) for share in row] for row in units])
    own = np.stack([_label_probs(leaf, labels)[mask] for leaf in leaves], axis=1)
    if rule != "mean":
        table.margins(rule)  # refuses what it cannot answer before anything is searched
    return Pool(table, own @ shares.T, np.array(costs, dtype=np.float64), rule)


def _label_probs(leaf: PosteriorParts | NDArray[np.float32], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    if not isinstance(leaf, PosteriorParts):
        whole: NDArray[np.float64] = leaf[np.arange(len(labels)), labels].astype(np.float64)
        return whole
    own = [
        probs[np.arange(len(probs)), labels[start - leaf.start : start - leaf.start + len(probs)]]
        for start, probs in leaf.blocks(_ROWS)
    ]
    return np.concatenate(own).astype(np.float64)
