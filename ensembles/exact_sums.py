"""Whether a class is at or ahead of the label in a weighted mean of M members' posteriors, without rounding errors.

Posteriors are float32, which are rational numbers, and so are weights. Sums are taken in float64 with a bound of their
error; what lies inside the bound of zero is taken again in whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ensembles.errors import Problem, SpecError

Rule = Literal["mean", "geometric"]
WeightsLike = Sequence[float | Fraction] | NDArray[Any]

#: Every float32 is a multiple of this part of 1.
_UNIT = 1 << 149
#: Products of powers are settled exactly up to this sum of whole weights.
_MAX_POWERS = 4096
_EPSILON = float(np.finfo(np.float64).eps)
_TINIEST = float(np.finfo(np.float64).smallest_subnormal)


def whole_weights(weights: WeightsLike, members: int) -> tuple[int, ...]:
    """The smallest whole numbers in the exact ratios of `weights`.

    Raises:
        SpecError: not one finite number >= 0 a member, or a sum of 0.
    """
    problem = Problem("weights", f"{members} finite numbers >= 0 with a sum above 0", list(weights))
    try:
        exact = [Fraction(w) if isinstance(w, int | Fraction) else Fraction(float(w)) for w in weights]
    except (TypeError, ValueError, OverflowError):
        raise SpecError([problem]) from None
    if len(exact) != members or min(exact, default=-1) < 0 or not any(exact):
        raise SpecError([problem])
    common = math.lcm(*(w.denominator for w in exact))
    whole = [int(w * common) for w in exact]
    divisor = math.gcd(*whole)
    return tuple(w // divisor for w in whole)


@dataclass(frozen=True, eq=False)
class Margins:
    """By how much E classes lead the labels of their images in each of M members.

    Attributes:
        rule: "mean" of posteriors, or "geometric": of their logarithms.
        others: (E, M) float32, posteriors of the classes.
        own: (E, M) float32, posteriors of the labels.
        values: (E, M) float64, leads, of logarithms with those of zeros left out.
        sizes: (E, M) float64; the rounding errors of a weighted sum are a small multiple of that of sizes.
        exact_below: (E,) float64: whole weights with a sum of weighted sizes below it give exact float64 sums.
        vetoes: (E, M) int8: 1 where only the class is zero, -1 where only the label is; none for the mean.
    """

    rule: Rule
    others: NDArray[np.float32]
    own: NDArray[np.float32]
    values: NDArray[np.float64]
    sizes: NDArray[np.float64]
    exact_below: NDArray[np.float64]
    vetoes: NDArray[np.int8]

    @classmethod
    def of(cls, others: NDArray[np.float32], own: NDArray[np.float32], rule: Rule) -> Margins:
        """From posteriors (E, M) of classes and labels.

        Raises:
            SpecError: no such rule.
        """
        none = np.zeros((len(others), 0), dtype=np.int8)
        if rule == "mean":
            values = others.astype(np.float64) - own
            # All are multiples of the spacing of the smallest: sums of fewer than 2^53 such units are exact.
            smallest = np.minimum(*(np.where(p > 0, p, np.float32(1)).min(axis=1) for p in (others, own)))
            return cls(rule, others, own, values, abs(values), np.spacing(smallest) * 2.0**52, none)
        if rule != "geometric":
            raise SpecError([Problem("rule", "mean or geometric", rule)])
        logs = [np.log(np.where(p > 0, p, np.float32(1)), dtype=np.float64) for p in (others, own)]
        vetoes = (others <= 0).astype(np.int8) - (own <= 0).astype(np.int8)
        sizes = abs(logs[0]) + abs(logs[1])
        return cls(rule, others, own, logs[0] - logs[1], sizes, np.zeros(len(others)), vetoes)

    def take(self, rows: NDArray[np.int64]) -> Margins:
        """Those of some classes."""
        return Margins(
            self.rule,
            self.others[rows],
            self.own[rows],
            self.values[rows],
            self.sizes[rows],
            self.exact_below[rows],
            self.vetoes[rows],
        )

    def at_or_ahead(self, weights: Sequence[tuple[int, ...]]) -> NDArray[np.bool_]:
        """Whether each class is at least as likely as the label in the mean of each of C whole weightings, (C, E)."""
        scales = [max(each) for each in weights]
        exact_in_float = np.array([sum(each) < 1 << 53 for each in weights])
        # Small weights stay whole, so that sums of multiples of one unit are exact.
        table = np.array(
            [
                [float(w) if small else float(Fraction(w, scale)) for w in each]
                for each, scale, small in zip(weights, scales, exact_in_float, strict=True)
            ]
        ).reshape(len(weights), self.values.shape[1])
        sums = table @ self.values.T
        sizes = table @ self.sizes.T
        members = table.shape[1]
        bounds = (members + 6) * _EPSILON * sizes + members * _TINIEST
        exact = exact_in_float[:, np.newaxis] & (sizes < self.exact_below)
        ahead: NDArray[np.bool_] = sums >= 0
        candidates, classes = np.nonzero(~exact & (abs(sums) <= bounds))
        for candidate in np.unique(candidates).tolist():
            rows = classes[candidates == candidate]
            ahead[candidate, rows] = self.settle(
                rows, np.array([weights[candidate]], dtype=object).repeat(len(rows), 0)
            )
        if self.vetoes.any():
            self._apply_vetoes(ahead, weights)
        return ahead

    def settle(self, rows: NDArray[np.int64], weights: NDArray[Any]) -> NDArray[np.bool_]:
        """`at_or_ahead` of class rows[i] with whole weights[i], (len(rows), M), in whole numbers.

        Of the geometric rule, weights that are no ratios of small whole numbers count as a tie: nobody can tell.
        """
        others, own = _whole(self.others[rows]), _whole(self.own[rows])
        if self.rule == "mean":
            sums = ((others - own) * weights).sum(axis=1)
            return np.array([total >= 0 for total in sums], dtype=np.bool_)
        return np.array(
            [
                sum(w) > _MAX_POWERS or _product(o, w) >= _product(p, w)
                for o, p, w in zip(others.tolist(), own.tolist(), weights.tolist(), strict=True)
            ],
            dtype=np.bool_,
        )

    def _apply_vetoes(self, ahead: NDArray[np.bool_], weights: Sequence[tuple[int, ...]]) -> None:
        """A class that is zero in members of more weight than the other is behind, whatever the rest say."""
        rows = np.flatnonzero(self.vetoes.any(axis=1))
        patterns, which = np.unique(self.vetoes[rows], axis=0, return_inverse=True)
        for candidate, each in enumerate(weights):
            sums = [sum(v * w for v, w in zip(pattern, each, strict=True)) for pattern in patterns.tolist()]
            signs = np.array([(s > 0) - (s < 0) for s in sums])[which.reshape(-1)]
            ahead[candidate, rows[signs < 0]] = True
            ahead[candidate, rows[signs > 0]] = False


def _whole(probs: NDArray[np.float32]) -> NDArray[Any]:
    """(n, M) Python integers: posteriors in units of 2^-149."""
    ratios = [[p.as_integer_ratio() for p in row] for row in probs.tolist()]
    whole = [[numerator * (_UNIT // denominator) for numerator, denominator in row] for row in ratios]
    return np.array(whole, dtype=object).reshape(probs.shape)


def _product(values: Sequence[int], powers: Sequence[int]) -> int:
    # Zeros are counted apart, as vetoes.
    return math.prod((value or _UNIT) ** power for value, power in zip(values, powers, strict=True))
