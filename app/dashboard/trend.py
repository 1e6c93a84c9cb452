"""An error over the runs of a schedule, as SVG: a line with its 95 % band, and a mark where something changed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.dashboard.charts import Axis
from app.dashboard.formatting import interval, percent
from app.representations.schedules import TrendDocument, TrendPoint

_HEIGHT = 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 16, 34

#: What each verdict is called where it is marked; those that are not listed are plain points.
MARKED = {"drift": "environment drift", "model_change": "model change", "regression": "regression"}
VERDICT_WORDS = {
    "first": "first",
    "ok": "ok",
    **MARKED,
    "dataset_changed": "data set changed",
    "failed": "failed",
}


@dataclass(frozen=True)
class _Frame:
    """Where a moment and an error fall."""

    width: int
    axis: Axis
    begin: dt.datetime
    end: dt.datetime

    def x(self, at: dt.datetime) -> float:
        left, right = _LEFT + 10, self.width - _RIGHT - 10
        span = (self.end - self.begin).total_seconds()
        return (left + right) / 2 if span == 0 else left + (at - self.begin).total_seconds() / span * (right - left)

    def y(self, value: float) -> float:
        return self.axis.at(value, _HEIGHT - _BOTTOM, _TOP)


def chart(trend: TrendDocument, address: Callable[[str], str], width: int) -> Markup:
    """The trend; every run is a link.

    Args:
        trend: with at least one point; its metric is an error.
        address: of a run's page.
        width: px at full size.
    """
    points = trend.points
    values = [value for one in points for value in (one.value, one.low, one.high) if value is not None]
    frame = _Frame(width, Axis.around(values), points[0].at, points[-1].at)
    stretches = _stretches(trend)
    return Markup('<svg class="chart trend" viewBox="0 0 {} {}" role="group" aria-label="{}">{}{}{}{}{}</svg>').format(
        width,
        _HEIGHT,
        _description(points),
        _grid(frame),
        _days(frame, points),
        Markup("").join(_stretch(frame, one) for one in stretches),
        Markup("").join(_break(frame, one[0]) for one in stretches[1:]),
        Markup("").join(_mark(frame, one, address(one.run)) for one in points),
    )


def legend_mark(verdict: str) -> Markup:
    """The mark of a verdict, for the legend."""
    return Markup('<svg class="trend" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">{}</svg>').format(
        _shape(verdict, 7, 7)
    )


def _stretches(trend: TrendDocument) -> list[list[TrendPoint]]:
    """Runs of points that answer one question; no line leads from one to the next."""
    found: list[list[TrendPoint]] = []
    for point in trend.points:
        if not found or point.run in trend.breaks:
            found.append([])
        found[-1].append(point)
    return found


def _description(points: Sequence[TrendPoint]) -> str:
    changes = sum(one.verdict in MARKED for one in points)
    return (
        f"Error over {len(points)} runs, from {percent(points[0].value, points[0].n)} %"
        f" to {percent(points[-1].value, points[-1].n)} %; {changes} marked"
    )


def _grid(frame: _Frame) -> Markup:
    return Markup("").join(
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(_LEFT, frame.width - _RIGHT, y, y, _LEFT - 6, y + 3.5, frame.axis.tick_text(tick))
        for tick in frame.axis.ticks
        for y in (frame.y(tick),)
    )


def _days(frame: _Frame, points: Sequence[TrendPoint]) -> Markup:
    """Dates below the axis, as many as fit; times where all runs are of one day."""
    shown = "%H:%M" if points[0].at.date() == points[-1].at.date() else "%d %b"
    labels, last = [], -1e9
    for point in points:
        x = frame.x(point.at)
        if x - last >= 58:
            labels.append(
                Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
                    x, _HEIGHT - _BOTTOM + 17, f"{point.at:{shown}}"
                )
            )
            last = x
    return Markup("").join(labels)


def _stretch(frame: _Frame, points: Sequence[TrendPoint]) -> Markup:
    """Line and band."""
    places = " ".join(f"{frame.x(one.at):.1f},{frame.y(one.value):.1f}" for one in points)
    bounded = [one for one in points if one.low is not None and one.high is not None]
    upper = [f"{frame.x(one.at):.1f},{frame.y(one.high or 0):.1f}" for one in bounded]
    lower = [f"{frame.x(one.at):.1f},{frame.y(one.low or 0):.1f}" for one in reversed(bounded)]
    return Markup('<polygon class="band" points="{}"/><polyline class="way" points="{}"/>').format(
        " ".join(upper + lower), places
    )


def _break(frame: _Frame, point: TrendPoint) -> Markup:
    x = frame.x(point.at) - 7
    return Markup('<line class="break" x1="{:.1f}" x2="{:.1f}" y1="{}" y2="{}"/>').format(x, x, _TOP, _HEIGHT - _BOTTOM)


def _mark(frame: _Frame, point: TrendPoint, href: str) -> Markup:
    x, y = frame.x(point.at), frame.y(point.value)
    whisker = Markup("")
    if point.verdict in MARKED and point.low is not None and point.high is not None:
        whisker = Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>').format(
            x, x, frame.y(point.low), frame.y(point.high)
        )
    words = (
        f"{point.at:%Y-%m-%d %H:%M} UTC: {percent(point.value, point.n)} % "
        f"({interval(point.low, point.high, point.n)}), {VERDICT_WORDS[point.verdict]}"
        + (", acknowledged" if point.acknowledged else "")
    )
    return Markup('<a href="{}" class="run{}" aria-label="{}"><title>{}</title>{}{}</a>').format(
        href, " run-seen" if point.acknowledged else "", words, words, whisker, _shape(point.verdict, x, y)
    )


def _shape(verdict: str, x: float, y: float) -> Markup:
    """Told apart without colour: a diamond for drift, a square for another model, a triangle for a regression."""
    corners: tuple[tuple[float, float], ...]
    if verdict == "drift":
        corners = ((x, y - 6.5), (x + 6.5, y), (x, y + 6.5), (x - 6.5, y))
    elif verdict == "model_change":
        corners = ((x - 5, y - 5), (x + 5, y - 5), (x + 5, y + 5), (x - 5, y + 5))
    elif verdict == "regression":
        corners = ((x, y - 7), (x + 6.5, y + 5), (x - 6.5, y + 5))
    else:
        return Markup('<circle class="mark mark-{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(verdict, x, y)
    places = " ".join(f"{left:.1f},{top:.1f}" for left, top in corners)
    return Markup('<polygon class="mark mark-{}" points="{}"/>').format(verdict, places)
