"""Scores as a table: one row a subject and view, one column a metric; CSV, Markdown and Parquet share its columns."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence

from app.representations.evaluations import ScoreDocument

METRICS = ("top1_error", "top5_error", "nll", "ece", "brier")

Cell = str | int | float | None

#: A text cell that begins so is run as a formula by spreadsheet programs.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def score_table(scores: Iterable[ScoreDocument]) -> list[dict[str, Cell]]:
    """One row for each (subject, members, scales, mode), in the order of the scores, metrics side by side.

    Errors stay fractions, unrounded.
    """
    rows: dict[tuple[object, ...], dict[str, Cell]] = {}
    for score in scores:
        members = tuple((m.checkpoint, tuple(m.scales), m.mode) for m in score.members)
        key = (score.subject, score.subject_name, members, tuple(score.scales or ()), score.mode)
        row = rows.setdefault(
            key,
            {
                "subject": score.subject,
                "name": score.subject_name,
                "members": " + ".join(m.checkpoint for m in score.members),
                "scales": " ".join(map(str, score.scales)) if score.scales else "",
                "mode": score.mode or "",
                "n": score.n,
                "n_unreadable": score.n_unreadable,
            },
        )
        row[score.metric] = score.value
        if score.low is not None:
            row[f"{score.metric}_low"], row[f"{score.metric}_high"] = score.low, score.high
    return list(rows.values())


def score_columns(rows: Sequence[dict[str, Cell]]) -> list[str]:
    """The columns in use, in one fixed order, so that exports keep their shape from release to release."""
    fixed = ["subject", "name", "members", "scales", "mode", "n", "n_unreadable"]
    measured = [f"{metric}{suffix}" for metric in METRICS for suffix in ("", "_low", "_high")]
    return [column for column in fixed + measured if any(column in row for row in rows) or column in fixed]


def to_csv(rows: Sequence[dict[str, Cell]]) -> str:
    """Scores as CSV; numbers in full precision."""
    return csv_table(rows, score_columns(rows))


def to_markdown(rows: Sequence[dict[str, Cell]]) -> str:
    """Scores as a GitHub-flavoured table, errors and ECE in percent, with 95 % intervals."""
    metrics = {metric: metric.replace("_", " ") for metric in METRICS if any(metric in row for row in rows)}
    readable: list[dict[str, Cell]] = [
        {
            "subject": row["name"],
            "scales": row["scales"],
            "mode": row["mode"],
            **{title: metric_text(row, metric) for metric, title in metrics.items()},
            "n": row["n"],
        }
        for row in rows
    ]
    numbers = [*metrics.values(), "n"]
    return markdown_table(readable, ["subject", "scales", "mode", *numbers], numbers)


def csv_table(rows: Iterable[Mapping[str, Cell]], columns: Sequence[str]) -> str:
    """RFC 4180; text that a spreadsheet would run as a formula is made harmless."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_harmless(row.get(column)) for column in columns])
    return buffer.getvalue()


def markdown_table(rows: Iterable[Mapping[str, Cell]], columns: Sequence[str], right: Collection[str]) -> str:
    """A GitHub-flavoured table, the columns of `right` aligned on their right."""
    lines = [_markdown_line(columns), "|" + "".join("---:|" if column in right else "---|" for column in columns)]
    lines += [_markdown_line([row.get(column) for column in columns]) for row in rows]
    return "\n".join(lines) + "\n"


def metric_text(row: dict[str, Cell], metric: str) -> str:
    """A metric as people read it: errors and ECE in percent, with the interval if any; others with four decimals."""
    value, low, high = row.get(metric), row.get(f"{metric}_low"), row.get(f"{metric}_high")
    if not isinstance(value, int | float):
        return ""
    if not metric.endswith("_error") and metric != "ece":
        return f"{value:.4f}"
    interval = f" [{low * 100:.2f}, {high * 100:.2f}]" if isinstance(low, float) and isinstance(high, float) else ""
    return f"{value * 100:.2f} %{interval}"


def _harmless(cell: Cell) -> Cell:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) else cell


def _markdown_line(cells: Sequence[Cell]) -> str:
    texts = ("" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(texts)} |"
