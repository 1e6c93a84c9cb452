"""An ensemble in the making as its page shows it: the state of the address, a row a unit, differences in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from app.dashboard.charts import MODE_NAMES
from app.dashboard.forms import Form
from app.representations.contenders import ContenderUnitDocument, ContenderUnitsDocument
from app.services.searching.weightings import MAX_WEIGHT, Weighed, WeighedUnits
from ensembles.statistics import wilson_interval

OVERS = {"checkpoints": "checkpoints", "modes": "checkpoints by mode", "views": "single views"}
RULES = {"mean": "arithmetic mean", "geometric": "geometric mean"}


class SaveForm(Form):
    """Save what was built."""

    labels: ClassVar[dict[str, str]] = {"name": "Name", "notes": "Notes", "weights": "Weights"}


@dataclass(frozen=True)
class Row:
    """A unit: what it weighs, what it does alone, and what the ensemble does without it."""

    unit: ContenderUnitDocument
    name: str
    detail: str
    weight: int
    on: bool
    alone: Weighed | None
    best: bool
    without: Weighed | None

    @property
    def gain(self) -> int:
        """Images that the ensemble gets wrong more without it."""
        return self.without.fixed - self.without.broken if self.without else 0


@dataclass(frozen=True)
class Building:
    """Everything that the page shows; `found` is None where nothing has weight."""

    document: ContenderUnitsDocument
    rows: tuple[Row, ...]
    found: WeighedUnits | None

    @property
    def weights(self) -> list[int]:
        """Of the units, those that are off without any."""
        return [row.weight if row.on else 0 for row in self.rows]

    @property
    def gmacs(self) -> float:
        """Of an image, by all units with weight."""
        return sum(row.unit.gmacs for row, weight in zip(self.rows, self.weights, strict=True) if weight)

    @property
    def best(self) -> Row | None:
        """The best unit alone."""
        return next((row for row in self.rows if row.best), None)

    @property
    def units_json(self) -> str:
        """What the page's script needs of the units."""
        return json.dumps([{"leaves": unit.leaves, "gmacs": unit.gmacs} for unit in self.document.units])

    def interval(self, wrong: int) -> tuple[float, float]:
        """Of an error, as fractions."""
        return wilson_interval(wrong, self.document.images)

    def difference(self, other: Weighed) -> float:
        """Top-1 error of the ensemble less that of something else."""
        return (self.found.chosen.top1_wrong - other.top1_wrong) / self.document.images if self.found else 0.0


def lay_out(
    document: ContenderUnitsDocument, weights: Sequence[int], on: Sequence[bool], found: WeighedUnits | None
) -> Building:
    """Arrange units, their weights and what was counted."""
    names = [unit.checkpoint for unit in document.units]
    rows = [
        Row(
            unit=unit,
            name=names[place],
            detail=_detail(unit),
            weight=weights[place],
            on=on[place],
            alone=found.singles[place] if found else None,
            best=found is not None and found.best == place,
            without=found.without[place] if found else None,
        )
        for place, unit in enumerate(document.units)
    ]
    return Building(document, tuple(rows), found)


def read_weights(texts: Sequence[str], units: int) -> list[int] | None:
    """The weights of an address, brought into range; None where they are not one a unit."""
    return [_weight(text) for text in texts] if len(texts) == units else None


def read_on(texts: Sequence[str], units: int) -> list[bool]:
    """Which units count: all where none is named, as in an address that says nothing about it."""
    named = {text for text in texts if text.isdecimal()}
    return [not named or str(place) in named for place in range(units)]


def _weight(text: str) -> int:
    try:
        return min(MAX_WEIGHT, max(0, round(float(text))))
    except (ValueError, OverflowError):
        return 0


def _detail(unit: ContenderUnitDocument) -> str:
    if unit.mode == "imported":
        return "imported"
    return f"{MODE_NAMES[unit.mode]}, Q {', '.join(map(str, unit.scales))}"
