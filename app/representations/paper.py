"""The paper's tables with measurements beside them, as JSON."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document

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
    """What was measured: errors are fractions on `n` images."""

    evaluation: str
    name: str
    top1_error: float
    top5_error: float
    n: int


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


class PaperDocument(Document):
    """Tables 3-7; `comparable`: full-width networks on ImageNet's 1,000 classes, without which nothing is compared."""

    evaluations: list[str]
    comparable: bool
    tables: list[PaperTable]
    reasons: dict[str, str]
