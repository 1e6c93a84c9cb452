"""The paper's tables with measurements beside them, as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.representations.base import Document
from app.representations.tabular import Cell, csv_table

CellVerdict = Literal["equal", "plausible", "different"]


class PrintedCells(Document):
    """What the paper prints, percent; null where it prints nothing."""

    label: str
    top1_val: float | None
    top5_val: float | None
    top5_test: float | None
    reproducible: bool
    note: str


class MeasuredCells(Document):
    """What was measured: errors are fractions on `n` images, with their 95 % intervals.

    `departures` are the paper's rules that the measurement does not keep; with any, nothing is compared.
    """

    evaluation: str
    name: str
    protocol: str
    top1_error: float
    top1_low: float | None
    top1_high: float | None
    top5_error: float
    top5_low: float | None
    top5_high: float | None
    n: int
    departures: list[str]


class PaperNetwork(Document):
    """A member of a row."""

    configuration: str
    training_scale: list[int]
    scales: list[int]


class PaperRow(Document):
    """A printed row, a measurement, or both; a verdict where both have the cell."""

    members: list[PaperNetwork]
    method: Literal["dense", "crops", "both"] | None
    printed: PrintedCells | None
    measured: MeasuredCells | None
    top1_verdict: CellVerdict | None
    top5_verdict: CellVerdict | None


class PaperTable(Document):
    """One table."""

    number: int
    title: str
    rows: list[PaperRow]


class PaperChoice(Document):
    """Something that moves a number: its values here, what is known of the authors', and whether the two agree.

    `agrees` is null where nothing is known of the authors'.
    """

    name: str
    values: list[str]
    authors: str
    agrees: bool | None
    fact: str


class LeftOut(Document):
    """A checkpoint, or the fusion, of which no row can be made, and why."""

    evaluation: str
    name: str
    reason: str


class PaperDocument(Document):
    """Tables 3-7; `comparable`: full-width networks on ImageNet's 1,000 classes, without which nothing is compared.

    `matched` counts the measurements that stand beside a printed number; `reasons` has one sentence a choice.
    """

    evaluations: list[str]
    comparable: bool
    matched: int
    left_out: list[LeftOut]
    tables: list[PaperTable]
    choices: list[PaperChoice]
    reasons: dict[str, str]


COLUMNS = (
    "table",
    "row",
    "networks",
    "method",
    "weights_are_public",
    "paper_top1_val_percent",
    "paper_top5_val_percent",
    "paper_top5_test_percent",
    "evaluation",
    "name",
    "protocol",
    "top1_error",
    "top1_verdict",
    "top5_error",
    "top5_verdict",
    "n",
    "departures",
    "note",
)


def members_text(members: list[PaperNetwork]) -> str:
    """Networks in the paper's notation, `D/[256;512]/256,384,512 + E/...`."""
    return " + ".join(f"{m.configuration}/{scale_text(m.training_scale)}/{_commas(m.scales)}" for m in members)


def scale_text(scale: list[int]) -> str:
    """S as the paper writes it."""
    return str(scale[0]) if scale[0] == scale[-1] else f"[{scale[0]};{scale[-1]}]"


def to_csv(document: PaperDocument) -> str:
    """Every row of every table; printed cells in percent as the paper has them, measured errors as fractions."""
    return csv_table(_flat(document), COLUMNS)


def _flat(document: PaperDocument) -> Iterator[dict[str, Cell]]:
    for table in document.tables:
        for row in table.rows:
            cells: dict[str, Cell] = {
                "table": table.number,
                "networks": members_text(row.members),
                "method": row.method,
                "top1_verdict": row.top1_verdict,
                "top5_verdict": row.top5_verdict,
            }
            if row.printed:
                cells |= {
                    "row": row.printed.label,
                    "weights_are_public": str(row.printed.reproducible).lower(),
                    "paper_top1_val_percent": row.printed.top1_val,
                    "paper_top5_val_percent": row.printed.top5_val,
                    "paper_top5_test_percent": row.printed.top5_test,
                    "note": row.printed.note,
                }
            if row.measured:
                cells |= {
                    "evaluation": row.measured.evaluation,
                    "name": row.measured.name,
                    "protocol": row.measured.protocol,
                    "top1_error": row.measured.top1_error,
                    "top5_error": row.measured.top5_error,
                    "n": row.measured.n,
                    "departures": "; ".join(row.measured.departures),
                }
            yield cells


def _commas(values: list[int]) -> str:
    return ",".join(map(str, values))
