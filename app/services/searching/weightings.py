"""What a weighting of an evaluation's units answers, and what each unit does to it: exact numbers of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.artifacts import ArtifactStore
from app.db.session import Database
from app.errors import InvalidRequestError
from app.representations.ensembles import EnsembleRequest
from app.services import ensembles
from app.services.searching import contender_tables, searches
from app.services.searching.search_units import Searchable
from ensembles.errors import Problem
from ensembles.exact_sums import Rule

#: Weights are whole numbers up to this: the steps of a slider.
MAX_WEIGHT = 100


@dataclass(frozen=True)
class Weighed:
    """How many images a weighting answers wrongly.

    Attributes:
        top1_wrong: with the label not first.
        top5_wrong: with the label not among the first five.
        fixed: images that it gets wrong and the chosen weighting right.
        broken: images that it gets right and the chosen weighting wrong.
    """

    top1_wrong: int
    top5_wrong: int
    fixed: int
    broken: int


@dataclass(frozen=True)
class WeighedUnits:
    """A weighting of M units beside what it is measured by.

    Attributes:
        images: that are scored.
        chosen: the weighting.
        equal: all units with equal weights.
        singles: each unit alone.
        best: the unit of fewest top-1 errors, then of fewest top-5 errors, then the first.
        without: the chosen weighting without each unit, None where it has no weight or nothing would be left.
    """

    images: int
    chosen: Weighed
    equal: Weighed
    singles: tuple[Weighed, ...]
    best: int
    without: tuple[Weighed | None, ...]


def weigh(artifacts: ArtifactStore, searchable: Searchable, weights: Sequence[int], rule: Rule) -> WeighedUnits:
    """Count a weighting.

    Args:
        artifacts: where posteriors and tables lie.
        searchable: whose units.
        weights: one a unit, from 0 to `MAX_WEIGHT`, not all 0.
        rule: "geometric" only where each unit is one view.

    Raises:
        InvalidRequestError: weights or a rule that break this.
        ServiceError: as `app.services.searching.contender_tables.table` says.
    """
    _check(searchable, weights, rule)
    table = contender_tables.table(artifacts, searchable).units
    units = range(len(weights))
    ones = [1] * len(weights)
    alone = [[int(unit == one) for one in units] for unit in units]
    rest = [[0 if one == unit else weight for one, weight in enumerate(weights)] for unit in units]
    asked = [unit for unit in units if weights[unit] and any(rest[unit])]
    ranks = table.ranks([list(weights), ones, *alone, *(rest[unit] for unit in asked)], rule)
    wrong, top5_wrong = ranks >= 1, (ranks >= 5).sum(axis=1)

    def weighed(row: int) -> Weighed:
        fixed, broken = int((wrong[row] & ~wrong[0]).sum()), int((wrong[0] & ~wrong[row]).sum())
        return Weighed(int(wrong[row].sum()), int(top5_wrong[row]), fixed, broken)

    singles = tuple(weighed(2 + unit) for unit in units)
    best = min(units, key=lambda unit: (singles[unit].top1_wrong, singles[unit].top5_wrong, unit))
    without = {unit: weighed(2 + len(weights) + place) for place, unit in enumerate(asked)}
    return WeighedUnits(
        images=len(table),
        chosen=weighed(0),
        equal=weighed(1),
        singles=singles,
        best=best,
        without=tuple(without.get(unit) for unit in units),
    )


def save(
    db: Database,
    searchable: Searchable,
    weights: Sequence[int],
    rule: Rule,
    *,
    name: str,
    notes: str = "",
    fixed_beforehand: bool = False,
) -> str:
    """Save a weighting as an ensemble; its id. Unless it was fixed beforehand, it was chosen on these images, by hand.

    Raises:
        InvalidRequestError: weights, a rule or a name that break a rule.
        NameTakenError: another ensemble has the name.
    """
    _check(searchable, weights, rule)
    request = EnsembleRequest(
        name=name,
        notes=notes,
        rule=rule,
        members=searches.member_requests(searchable.units, weights),
        chosen_on=None if fixed_beforehand else searchable.evaluation.id,
    )
    return ensembles.create(db, request)


def own_weights(searchable: Searchable) -> list[int]:
    """The evaluation's own fusion as whole weights up to `MAX_WEIGHT`: exact ratios where that many steps have them."""
    largest = max(searchable.own)
    if largest <= MAX_WEIGHT:
        # Equal weights stand in the middle, so that each can be raised.
        limit = MAX_WEIGHT if len(set(searchable.own)) > 1 else MAX_WEIGHT // 2
        return [int(weight) * int(limit // largest) for weight in searchable.own]
    return [max(1, round(MAX_WEIGHT * weight / largest)) if weight else 0 for weight in searchable.own]


def rules(searchable: Searchable) -> tuple[Rule, ...]:
    """Those that have exact errors here: a log pool of means has none."""
    return ("mean", "geometric") if all(len(unit.views) == 1 for unit in searchable.units) else ("mean",)


def _check(searchable: Searchable, weights: Sequence[int], rule: Rule) -> None:
    problems = []
    in_range = all(0 <= weight <= MAX_WEIGHT for weight in weights)
    if len(weights) != len(searchable.units) or not in_range or not any(weights):
        stated = f"{len(searchable.units)} whole numbers from 0 to {MAX_WEIGHT}, not all 0"
        problems.append(Problem("weights", stated, list(weights)))
    if rule not in rules(searchable):
        problems.append(Problem("rule", "mean, or geometric where each unit is one view", rule))
    if problems:
        raise InvalidRequestError(problems)
