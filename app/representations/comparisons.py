"""Paired comparisons as JSON, and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal, get_args
from urllib.parse import urlencode

from app.representations.base import Document
from app.representations.tabular import Cell

ComparedMetric = Literal["top1_error", "top5_error", "nll", "brier", "ece"]

#: In the order in which they are answered.
COMPARED_METRICS: Final[tuple[ComparedMetric, ...]] = get_args(ComparedMetric)

#: Compared unless a request says otherwise: by exact tests.
ERROR_METRICS: Final[tuple[ComparedMetric, ...]] = ("top1_error", "top5_error")


class ComparedDocument(Document):
    """A side of a comparison: `reference` as it was asked for, and what it stands for.

    `images` were scored; `left_out` of them are not shared by all sides, and so take no part.
    """

    reference: str
    evaluation: str
    subject: Literal["ensemble", "checkpoint"]
    name: str
    # Names of the checkpoints it rests on.
    members: list[str]
    dataset: str
    protocol_name: str | None
    # The name, or what the protocol comes nearest to; null where its members' protocols differ.
    protocol_title: str | None
    images: int
    left_out: int
    # What its numbers depend on, by field: data set, checkpoints, fusion and protocol. A list of one value a member
    # where the members differ.
    configuration: dict[str, Any]


class PairDocument(Document):
    """A candidate beside the base by one metric, on the images that all sides share.

    Values and differences of errors are fractions; a difference is candidate minus base, so negative favours the
    candidate. The two errors are counted and tested exactly; `nll` (nats), `brier` and `ece` have no counts: their
    intervals and p-values come from a paired bootstrap of 2,000 resamples.
    """

    candidate: str
    metric: ComparedMetric
    n: int
    base_value: float
    candidate_value: float
    difference: float
    # Tango's score interval for a difference of paired proportions; percentiles of the bootstrap where it is no error.
    low: float
    high: float
    # Images by who is wrong; null where the metric is no error.
    both_wrong: int | None
    only_base_wrong: int | None
    only_candidate_wrong: int | None
    both_right: int | None
    # Of this pair alone: exact McNemar, and its mid-p for information; null where the metric is no error.
    p_exact: float | None
    p_mid: float | None
    # Of this pair alone: `p_exact`, or the bootstrap's.
    p: float
    # By Holm, over every candidate of the metric: the verdict follows from it.
    p_adjusted: float
    # At 80 % power; null where n is too small for any.
    detectable_difference_80: float | None
    verdict: Literal["better", "worse", "no difference detectable"]
    # The verdict in words, for after the candidate's name.
    summary: str
    # Fields of the protocols that are not the same on both sides.
    protocols_differ: list[str]


class RankDocument(Document):
    """The best and the worst rank of a side by one error, 1 the best, that tests of all pairs leave open."""

    reference: str
    metric: ComparedMetric
    best: int
    worst: int


class ComparisonDocument(Document):
    """A base and its candidates: every candidate by each metric."""

    base: str
    confidence: float
    metrics: list[ComparedMetric]
    # The base, then the candidates.
    subjects: list[ComparedDocument]
    pairs: list[PairDocument]
    # Of every side, by each error: exact McNemar tests of all pairs, adjusted by Holm.
    ranks: list[RankDocument]
    links: dict[str, str]


def comparison_links(base: str, candidates: Sequence[str], metrics: Sequence[str]) -> dict[str, str]:
    """Where the same comparison is found in other forms."""
    sides = [("base", base), *(("candidate", candidate) for candidate in candidates)]
    chosen = [] if tuple(metrics) == ERROR_METRICS else [("metric", metric) for metric in metrics]
    api, query = "/api/v1/compare", urlencode([*sides, *chosen])
    return {
        "self": f"{api}?{query}",
        "csv": f"{api}?{query}&format=csv",
        "markdown": f"{api}?{query}&format=markdown",
        "page": f"/compare?{urlencode(sides)}",
    }


def comparison_rows(document: ComparisonDocument) -> list[dict[str, Cell]]:
    """One row a pair for CSV, the fields of the JSON in its order; numbers unrounded."""
    ranks = {(rank.reference, rank.metric): rank for rank in document.ranks}
    rows: list[dict[str, Cell]] = []
    for pair in document.pairs:
        rank = ranks.get((pair.candidate, pair.metric))
        rows.append(
            {
                "base": document.base,
                **pair.model_dump(),
                "protocols_differ": " ".join(pair.protocols_differ),
                "best_rank": rank.best if rank else None,
                "worst_rank": rank.worst if rank else None,
            }
        )
    return rows


def comparison_columns() -> list[str]:
    """The columns of `comparison_rows`, which are there without a row too."""
    return ["base", *PairDocument.model_fields, "best_rank", "worst_rank"]


def readable_rows(document: ComparisonDocument) -> list[dict[str, Cell]]:
    """One row a pair for people: errors in percent, their differences in points."""
    names = {subject.reference: subject.name for subject in document.subjects}
    ranks = {(rank.reference, rank.metric): rank_text(rank) for rank in document.ranks}
    return [
        {
            "candidate": f"{names[pair.candidate]} ({pair.candidate})",
            "metric": pair.metric.replace("_", " "),
            "base": _value(pair.base_value, pair.metric),
            "of candidate": _value(pair.candidate_value, pair.metric),
            "difference [95 %]": "{} [{}, {}]".format(
                *(_difference(number, pair.metric) for number in (pair.difference, pair.low, pair.high))
            ),
            "only base wrong": pair.only_base_wrong,
            "only candidate wrong": pair.only_candidate_wrong,
            "p (Holm)": f"{pair.p_adjusted:.2g}",
            "rank": ranks.get((pair.candidate, pair.metric)),
            "verdict": pair.summary,
        }
        for pair in document.pairs
    ]


def rank_text(rank: RankDocument) -> str:
    """`2`, or `1-3`."""
    return str(rank.best) if rank.best == rank.worst else f"{rank.best}-{rank.worst}"


def _value(value: float, metric: str) -> str:
    return f"{value * 100:.2f} %" if metric.endswith("_error") else f"{value:.4f}"


def _difference(value: float, metric: str) -> str:
    return f"{value * 100:+.2f}" if metric.endswith("_error") else f"{value:+.4f}"


#: Columns of `readable_rows` that hold numbers.
NUMBER_COLUMNS = (
    "base",
    "of candidate",
    "difference [95 %]",
    "only base wrong",
    "only candidate wrong",
    "p (Holm)",
    "rank",
)
