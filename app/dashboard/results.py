"""An evaluation's scores as its page shows them: by member, the best marked, the ensemble beside its best member."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.dashboard.charts import Axis, Panel, Point
from app.representations.evaluations import ScoreDocument

METRICS = ("top1_error", "top5_error", "nll", "ece", "brier")

RowKind = Literal["view", "mode", "member", "ensemble"]


@dataclass(frozen=True)
class Row:
    """One subject at one combination of views.

    Attributes:
        kind: a member or the ensemble as a whole, one mode of a member over its scales, or one view.
        depth: how far the row is indented: below the member, below its mode.
        name: of the checkpoint, or "ensemble".
        scales: test scales Q, px.
        mode: "dense", "crops" or "both"; None where an ensemble's members differ.
        scores: by metric.
        best: the metrics in which no row of the evaluation is lower.
    """

    kind: RowKind
    depth: int
    name: str
    scales: tuple[int, ...]
    mode: str | None
    scores: dict[str, ScoreDocument]
    best: frozenset[str]

    @property
    def n(self) -> int:
        """Scored images."""
        return next(iter(self.scores.values())).n

    @property
    def n_unreadable(self) -> int:
        """Images left out because they could not be read."""
        return next(iter(self.scores.values())).n_unreadable


@dataclass(frozen=True)
class Gain:
    """The ensemble against its best single member, the one with the lowest top-1 error.

    Attributes:
        difference: ensemble minus member, a fraction; below zero where the ensemble is better.
        fewer_errors: images that the member gets wrong beyond the ensemble; negative where the ensemble is worse.
        relative: the part of the member's errors that `fewer_errors` is; None where the member makes none.
    """

    member: Row
    difference: float
    fewer_errors: int
    relative: float | None


@dataclass(frozen=True)
class Results:
    """What the page of a finished evaluation shows; each group begins with the member, its parts below it."""

    groups: tuple[tuple[Row, ...], ...]
    members: tuple[Row, ...]
    ensemble: Row | None
    best_member: Row
    gain: Gain | None
    axes: dict[str, Axis]

    @property
    def headline(self) -> Row:
        """The row whose numbers stand at the top: the ensemble, or the only member."""
        return self.ensemble or self.best_member

    @property
    def panels(self) -> tuple[Panel, ...]:
        """One a member, for the chart of error by scale; none where no member has two views."""
        panels = tuple(
            Panel(rows[0].name, tuple(map(_point, _views(rows))), rows[0].scores["top1_error"].value)
            for rows in self.groups
            if rows[0].kind == "member"
        )
        return panels if any(len(panel.points) > 1 for panel in panels) else ()


def summarise(scores: Sequence[ScoreDocument]) -> Results | None:
    """Arrange the scores of one evaluation; None while there are none.

    Rows come as they are stored: views, then modes over their scales, then checkpoints over their modes, the ensemble
    last. Rows that would say the same twice are left out there, so a member's last row is the member.
    """
    rows = _merge_metrics(scores)
    if not rows:
        return None
    lowest = {
        metric: min(row[metric].value for row in rows if metric in row)
        for metric in METRICS
        if any(metric in row for row in rows)
    }
    by_subject: dict[tuple[str, str], list[dict[str, ScoreDocument]]] = {}
    for row in rows:
        by_subject.setdefault(_subject(row), []).append(row)
    groups = tuple(_group(of_one, lowest) for of_one in by_subject.values())
    ensemble = next((group[0] for group in groups if group[0].kind == "ensemble"), None)
    members = tuple(group[0] for group in groups if group[0].kind == "member")
    best_member = min(members, key=lambda row: row.scores["top1_error"].value)
    return Results(groups, members, ensemble, best_member, _gain(ensemble, best_member), _axes(rows))


def _merge_metrics(scores: Iterable[ScoreDocument]) -> list[dict[str, ScoreDocument]]:
    """One dict by metric a row: neighbours that differ only in the metric belong together."""
    rows: list[dict[str, ScoreDocument]] = []
    previous: tuple[object, ...] | None = None
    for score in scores:
        key = (score.subject, score.subject_name, score.members, score.scales, score.mode)
        if key != previous or score.metric in rows[-1]:
            rows.append({})
        rows[-1][score.metric] = score
        previous = key
    return rows


def _any(row: dict[str, ScoreDocument]) -> ScoreDocument:
    return next(iter(row.values()))


def _subject(row: dict[str, ScoreDocument]) -> tuple[str, str]:
    score = _any(row)
    return score.subject, score.subject_name


def _group(rows: Sequence[dict[str, ScoreDocument]], lowest: dict[str, float]) -> tuple[Row, ...]:
    """The rows of one subject as a tree: the last stored row is the whole, then modes, then views."""
    *parts, whole = (_row(row, lowest) for row in rows)
    whole = replace(whole, kind="ensemble" if _any(rows[-1]).subject == "ensemble" else "member")
    arranged = [whole]
    for mode in dict.fromkeys(part.mode for part in parts):
        over_scales = [part for part in parts if part.mode == mode and part.kind == "mode"]
        views = [part for part in parts if part.mode == mode and part.kind == "view"]
        arranged += [replace(part, depth=1) for part in over_scales]
        arranged += [replace(part, depth=2 if over_scales else 1) for part in views]
    return tuple(arranged)


def _row(row: dict[str, ScoreDocument], lowest: dict[str, float]) -> Row:
    score = _any(row)
    scales = tuple(score.scales or ())
    best = frozenset(metric for metric, value in lowest.items() if metric in row and row[metric].value == value)
    return Row("view" if len(scales) == 1 else "mode", 0, score.subject_name, scales, score.mode, row, best)


def _gain(ensemble: Row | None, member: Row) -> Gain | None:
    if ensemble is None:
        return None
    ours, theirs = ensemble.scores["top1_error"], member.scores["top1_error"]
    fewer = round(theirs.value * theirs.n) - round(ours.value * ours.n)
    return Gain(member, ours.value - theirs.value, fewer, None if theirs.value == 0 else 1 - ours.value / theirs.value)


def _axes(rows: Sequence[dict[str, ScoreDocument]]) -> dict[str, Axis]:
    """One axis a metric that has intervals, shared by every row of the table."""
    axes = {}
    for metric in METRICS:
        ends = [
            end
            for row in rows
            if metric in row and row[metric].low is not None
            for end in (row[metric].low, row[metric].high)
            if end is not None
        ]
        if ends:
            axes[metric] = Axis.around(ends)
    return axes


def _views(rows: Sequence[Row]) -> list[Row]:
    """The rows of one member that are single views."""
    return [row for row in rows if len(row.scales) == 1 and row.mode in ("dense", "crops")]


def _point(row: Row) -> Point:
    score = row.scores["top1_error"]
    low = score.value if score.low is None else score.low
    high = score.value if score.high is None else score.high
    return Point(row.mode or "dense", row.scales[0], score.value, low, high)
