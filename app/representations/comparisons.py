"""Paired comparisons as JSON, and as tables."""

from __future__ import annotations

from typing import Literal

from app.representations.base import Document
from app.representations.tabular import Cell

ComparedMetric = Literal["top1_error", "top5_error"]


class ComparedDocument(Document):
    """A side of a comparison: `reference` as it was asked for, and what it stands for.

    `images` were scored; `left_out` of them are not shared by all sides, and so take no part.
    """

    reference: str
    evaluation: str
    subject: Literal["ensemble", "checkpoint"]
    name: str
    dataset: str
    protocol_name: str | None
    images: int
    left_out: int


class PairDocument(Document):
    """A candidate beside the base by one metric, on the images that all sides share.

    Values and differences are fractions; a difference is candidate minus base, so negative favours the candidate.
    """

    candidate: str
    metric: ComparedMetric
    n: int
    base_value: float
    candidate_value: float
    difference: float
    # Tango's score interval for a difference of paired proportions.
    low: float
    high: float
    only_base_wrong: int
    only_candidate_wrong: int
    # Of this pair alone: exact McNemar, and its mid-p for information.
    p_exact: float
    p_mid: float
    # By Holm, over every candidate of the metric: the verdict follows from it.
    p_adjusted: float
    # At 80 % power; null where n is too small for any.
    detectable_difference_80: float | None
    verdict: Literal["better", "worse", "no difference detectable"]
    # The verdict in words, for after the candidate's name.
    summary: str
    # Fields of the protocols that are not the same on both sides.
    protocols_differ: list[str]


class ComparisonDocument(Document):
    """A base and its candidates: every candidate by top-1 error, then by top-5 error."""

    base: str
    confidence: float
    # The base, then the candidates.
    subjects: list[ComparedDocument]
    pairs: list[PairDocument]


def comparison_rows(document: ComparisonDocument) -> list[dict[str, Cell]]:
    """One row a pair for CSV, the fields of the JSON in its order; numbers unrounded."""
    return [
        {"base": document.base, **pair.model_dump(), "protocols_differ": " ".join(pair.protocols_differ)}
        for pair in document.pairs
    ]


def comparison_columns() -> list[str]:
    """The columns of `comparison_rows`, which are there without a row too."""
    return ["base", *PairDocument.model_fields]


def readable_rows(document: ComparisonDocument) -> list[dict[str, Cell]]:
    """One row a pair for people: errors in percent, differences in points."""
    names = {subject.reference: subject.name for subject in document.subjects}
    return [
        {
            "candidate": f"{names[pair.candidate]} ({pair.candidate})",
            "metric": pair.metric.replace("_", " "),
            "base %": f"{pair.base_value * 100:.2f}",
            "candidate %": f"{pair.candidate_value * 100:.2f}",
            "difference [95 %]": f"{pair.difference * 100:+.2f} [{pair.low * 100:+.2f}, {pair.high * 100:+.2f}]",
            "only base wrong": pair.only_base_wrong,
            "only candidate wrong": pair.only_candidate_wrong,
            "p (Holm)": f"{pair.p_adjusted:.2g}",
            "verdict": pair.summary,
        }
        for pair in document.pairs
    ]


#: Columns of `readable_rows` that hold numbers.
NUMBER_COLUMNS = (
    "base %",
    "candidate %",
    "difference [95 %]",
    "only base wrong",
    "only candidate wrong",
    "p (Holm)",
)
