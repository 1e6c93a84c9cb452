"""What a run prints: one line an epoch, and a chart that shows both errors at their heights."""

from __future__ import annotations

import pytest

from workers.training.curves import epoch_line, error_curves
from workers.training.loop import EpochReport


def history(training: list[float], validation: list[float | None]) -> list[EpochReport]:
    return [
        EpochReport(number, 1.5, error, 0.01, 100.0, measured)
        for number, (error, measured) in enumerate(zip(training, validation, strict=True), start=1)
    ]


def test_an_epoch_is_one_line_with_or_without_a_validation_error() -> None:
    (report,) = history([0.25], [0.125])
    line = "1/74  loss 1.500  train error  25.0%  validation error  12.5%  learning rate 0.01  100 images/s"
    assert epoch_line(report, 74) == f" {line}"
    (report,) = history([0.25], [None])
    assert "validation" not in epoch_line(report, 74)


def test_both_errors_stand_at_their_heights_and_share_a_mark_where_they_meet() -> None:
    lines = error_curves(history([0.9, 0.5, 0.0], [0.8, 0.5, 0.1])).splitlines()
    assert lines[:11] == [
        "  90.0% |.",
        "        |o",
        "        |",
        "        |",
        "        | @",
        "        |",
        "        |",
        "        |",
        "        |  o",
        "   0.0% |  .",
        "        +---",
    ]
    assert lines[-1].split() == [".", "train", "error", "o", "validation", "error", "@", "both"]


def test_epochs_that_have_no_column_of_their_own_are_averaged() -> None:
    lines = error_curves(history([0.4, 0.6] * 60 + [0.5] * 120, [None] * 240)).splitlines()
    assert all(len(line) <= 70 for line in lines)
    assert lines[0] == "  50.0% |" + "." * 60
    assert "validation" not in lines[-1]


@pytest.mark.parametrize("count", [1, 2, 59, 60, 61, 74])
def test_the_chart_begins_with_the_first_epoch_and_ends_with_the_last(count: int) -> None:
    rising = [number / 100 for number in range(count)]
    lines = error_curves(history(rising, [None] * count)).splitlines()
    rows = [line.partition("|")[2] for line in lines[:10]]
    assert sum(row.count(".") for row in rows) == min(count, 60)
    assert lines[11].split()[0] == "1"
    assert lines[11].split()[-1] == str(count)
