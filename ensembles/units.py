"""Units of a search that are means of several prediction sets: a mode over its scales, a checkpoint over its views.

The table of contenders is made of the prediction sets themselves, and a unit is whole weights of them: errors are those
of the exact means, without a unit's posterior ever being rounded to a file's precision.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ensembles.contenders import Contenders
from ensembles.errors import Problem, SpecError
from ensembles.exact_sums import Margins, Rule

Whole = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class UnitContenders(Contenders):
    """A table of L leaves, asked by U units.

    Attributes:
        shares: U rows of L whole numbers >= 0 with one common sum: what each leaf weighs in each unit.
    """

    shares: tuple[Whole, ...]

    @property
    def members(self) -> int:
        """U."""
        return len(self.shares)

    @classmethod
    def of(cls, leaves: Contenders, units: Sequence[Sequence[Fraction]]) -> UnitContenders:
        """Ask a table of leaves by units.

        Args:
            leaves: of L members.
            units: U rows of L weights with sum 1.

        Raises:
            SpecError: no unit, or a row that breaks the rule.
        """
        for row in units:
            if len(row) != leaves.members or min(row) < 0 or sum(row) != 1:
                rule = f"{leaves.members} weights >= 0 with sum 1 for each unit"
                raise SpecError([Problem("units", rule, [str(weight) for weight in row])])
        if not units:
            raise SpecError([Problem("units", "at least one", 0)])
        return cls(**{f.name: getattr(leaves, f.name) for f in fields(Contenders)}, shares=cls.whole_shares(units))

    @staticmethod
    def whole_shares(units: Sequence[Sequence[Fraction]]) -> tuple[Whole, ...]:
        """Rows of weights with sum 1 as whole numbers with one common sum, the smallest that all of them have."""
        common = math.lcm(*(weight.denominator for row in units for weight in row))
        return tuple(tuple(int(weight * common) for weight in row) for row in units)

    def margins(self, rule: Rule = "mean") -> Margins:
        """By how much each entry leads its label in each unit.

        Raises:
            SpecError: the geometric rule, and a unit is a mean of several leaves.
        """
        # A search asks some hundred times.
        if rule not in self._made:
            self._made[rule] = self._unit_margins(super().margins(rule), rule)
        return self._made[rule]

    @cached_property
    def _made(self) -> dict[Rule, Margins]:
        return {}

    def _unit_margins(self, leaves: Margins, rule: Rule) -> Margins:
        if rule != "mean" and any(sum(map(bool, row)) > 1 for row in self.shares):
            raise SpecError([Problem("rule", "mean, where a unit is the mean of several prediction sets", rule)])
        return UnitMargins.over(leaves, self.shares)

    def take(self, chosen: NDArray[np.bool_]) -> UnitContenders:
        """Those of some images, by a mask (N,)."""
        taken = super().take(chosen)
        return UnitContenders(**{f.name: getattr(taken, f.name) for f in fields(Contenders)}, shares=self.shares)


@dataclass(frozen=True, eq=False)
class UnitMargins(Margins):
    """Leads in U units; whatever is inside the bound of rounding is settled by the leaves.

    Attributes:
        leaves: leads in the L leaves.
        shares: of the leaves in the units.
    """

    leaves: Margins
    shares: tuple[Whole, ...]

    @classmethod
    def over(cls, leaves: Margins, shares: tuple[Whole, ...]) -> UnitMargins:
        """Leads of units from those of leaves."""
        table = np.array(shares, dtype=np.float64).T
        # A unit's sum of leaves rounds, too: the bound of a sum of units must have room for that.
        room = 2 + len(table)
        return cls(
            leaves.rule,
            leaves.others,
            leaves.own,
            leaves.values @ table,
            leaves.sizes @ table * room,
            leaves.exact_below,
            leaves.vetoes @ (table > 0).astype(np.int8) if leaves.rule == "geometric" else leaves.vetoes,
            leaves,
            shares,
        )

    def take(self, rows: NDArray[np.int64]) -> UnitMargins:
        """Those of some classes."""
        return UnitMargins.over(self.leaves.take(rows), self.shares)

    def at_or_ahead(self, weights: Sequence[Whole]) -> NDArray[np.bool_]:
        """Whether each class is at least as likely as the label in the mean of each of C whole weightings, (C, E)."""
        return self.leaves.at_or_ahead([self._of_leaves(each) for each in weights])

    def settle(self, rows: NDArray[np.int64], weights: NDArray[Any]) -> NDArray[np.bool_]:
        """`at_or_ahead` of class rows[i] with whole weights[i] of the units, (len(rows), U), in whole numbers."""
        return self.leaves.settle(rows, np.asarray(weights, dtype=object) @ np.array(self.shares, dtype=object))

    def _of_leaves(self, weights: Whole) -> Whole:
        table = zip(*self.shares, strict=True)
        return tuple(sum(w * s for w, s in zip(weights, column, strict=True)) for column in table)
