"""What a training run looks like in a terminal: one line an epoch, and the errors over all epochs as a small chart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

#: Characters; at most so many columns, and exactly so many rows.
_WIDTH, _HEIGHT = 60, 10
_TRAINING, _VALIDATION, _BOTH = ".", "o", "@"


class Epoch(Protocol):
    """The fields of an `EpochReport` that are shown; the report itself lives beside torch."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def loss(self) -> float: ...  # noqa: D102
    @property
    def top1_error(self) -> float: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def images_per_second(self) -> float: ...  # noqa: D102
    @property
    def validation_error(self) -> float | None: ...  # noqa: D102


def epoch_line(report: Epoch, epochs: int) -> str:
    """One epoch of `epochs` on one line, errors in percent."""
    validation = "" if report.validation_error is None else f"validation error {report.validation_error:6.1%}  "
    return (
        f"{report.epoch:{len(str(epochs))}}/{epochs}  loss {report.loss:.3f}  train error {report.top1_error:6.1%}  "
        f"{validation}learning rate {report.learning_rate:.2g}  {report.images_per_second:.0f} images/s"
    )


def error_curves(history: Sequence[Epoch]) -> str:
    """Training and validation errors over the epochs, a point an epoch; several share a column where there are many."""
    columns = min(_WIDTH, len(history))
    training = _columns([report.top1_error for report in history], columns)
    measured = [report.validation_error for report in history if report.validation_error is not None]
    validation = _columns(measured, columns) if len(measured) == len(history) else []
    low, high = min(training + validation), max(training + validation)
    rows = [[" "] * columns for _ in range(_HEIGHT)]
    for values, mark in ((training, _TRAINING), (validation, _VALIDATION)):
        for column, value in enumerate(values):
            row = round((high - value) / (high - low or 1) * (_HEIGHT - 1))
            rows[row][column] = mark if rows[row][column] == " " else _BOTH
    labels = {0: f"{high:6.1%}", _HEIGHT - 1: f"{low:6.1%}"} if high > low else {0: f"{high:6.1%}"}
    lines = [f"{labels.get(number, ''):>7} |{''.join(row)}".rstrip() for number, row in enumerate(rows)]
    axis = f"{'':8}+{'-' * columns}\n{'':9}1{len(history):>{max(columns - 1, 2)}}"
    legend = f"{_TRAINING} train error"
    if validation:
        legend += f"   {_VALIDATION} validation error   {_BOTH} both"
    return "\n".join([*lines, axis, f"{'':9}{legend}"])


def _columns(values: Sequence[float], columns: int) -> list[float]:
    """`values` as means over `columns` runs of neighbours of nearly equal length."""
    edges = [len(values) * column // columns for column in range(columns + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
