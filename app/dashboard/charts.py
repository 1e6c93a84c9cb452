"""Charts as SVG markup, pure functions of numbers. Colours, strokes and fonts come from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.dashboard.formatting import interval, percent

FUSION_NAMES = {"mean": "mean", "geometric": "normalised geometric mean", "vote": "majority vote"}
MODE_NAMES = {"dense": "dense", "crops": "multi-crop", "both": "dense and multi-crop", "imported": "imported"}

_BAR_WIDTH, _BAR_HEIGHT, _BAR_MARGIN = 220, 16, 6
_PANEL_WIDTH, _PANEL_HEIGHT = 300, 208
_LEFT, _RIGHT, _TOP, _BOTTOM = 36, 10, 10, 34
#: Points of the two modes at one scale stand beside each other, this far apart.
_DODGE = 7


@dataclass(frozen=True)
class Axis:
    """A linear axis over fractions, from `low` to `high`, with round ticks inside."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Iterable[float], wanted_ticks: int = 4) -> Axis:
        """The smallest axis with round ends that holds every value; error fractions never leave [0, 1]."""
        found = list(values)
        low, high = min(found), max(found)
        if high - low < 1e-9:
            low, high = max(0.0, low - 0.005), high + 0.005
        step = _round_step((high - low) / wanted_ticks)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, last * step, tuple(i * step for i in range(first, last + 1)))

    def at(self, value: float, start: float, end: float) -> float:
        """Where `value` falls between the coordinates `start` and `end`."""
        return start + (value - self.low) / (self.high - self.low) * (end - start)

    def tick_text(self, tick: float) -> str:
        """The tick in percent with the decimals that its step needs."""
        step = self.ticks[1] - self.ticks[0]
        decimals = max(0, math.ceil(-math.log10(100 * step) - 1e-9))
        return f"{100 * tick:.{decimals}f}"


@dataclass(frozen=True)
class Point:
    """The error of one view: its mode, test scale Q in px, value and 95 % interval as fractions."""

    mode: str
    scale: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """One member: the errors of its views, and of all of them together."""

    name: str
    points: tuple[Point, ...]
    combined: float


def interval_bar(
    value: float, low: float | None, high: float | None, axis: Axis, kind: str = "member", width: int = _BAR_WIDTH
) -> Markup:
    """A value and its interval on a small shared axis, for a table cell; the numbers stand beside it in text."""
    middle = _BAR_HEIGHT / 2
    whisker = Markup("")
    if low is not None and high is not None:
        whisker = Markup('<line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:g}" y2="{:g}"/>').format(
            _along(axis, low, width), _along(axis, high, width), middle, middle
        )
    return _bar(
        f"bar bar-{kind}",
        width,
        Markup(
            '<line class="rail" x1="0" x2="{}" y1="{:g}" y2="{:g}"/>{}'
            '<circle class="dot" cx="{:.1f}" cy="{:g}" r="3.5"/>'
        ).format(width, middle, middle, whisker, _along(axis, value, width), middle),
    )


def bar_axis(axis: Axis, width: int = _BAR_WIDTH) -> Markup:
    """The axis that the bars of a column share, in percent, for the column's head: its ticks, as many as fit."""
    step = 1 + len(axis.ticks) * 30 // width
    labels = [
        Markup('<text class="tick" x="{:.1f}" y="12" text-anchor="middle">{}</text>').format(
            _along(axis, tick, width), axis.tick_text(tick)
        )
        for tick in axis.ticks[::step]
    ]
    return _bar("bar bar-axis", width, Markup("").join(labels))


def _bar(css_class: str, width: int, inside: Markup) -> Markup:
    return Markup(
        '<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true" focusable="false">{}</svg>'
    ).format(css_class, width, _BAR_HEIGHT, width, _BAR_HEIGHT, inside)


def _along(axis: Axis, value: float, width: int) -> float:
    return axis.at(value, _BAR_MARGIN, width - _BAR_MARGIN)


def error_by_scale(panels: Sequence[Panel], ensemble: float | None, n: int) -> list[Markup]:
    """Error against test scale, one small chart a member on shared axes, in the order of the members.

    Args:
        panels: the members; each has at least one point.
        ensemble: the ensemble's error, drawn through every panel; None where there is no ensemble.
        n: scored images, which say how many decimals a percentage carries.
    """
    values = [v for panel in panels for p in panel.points for v in (p.low, p.high)]
    values += [panel.combined for panel in panels] + ([] if ensemble is None else [ensemble])
    y_axis = Axis.around(values)
    scales = sorted({point.scale for panel in panels for point in panel.points})
    return [_panel(panel, y_axis, scales, ensemble, n) for panel in panels]


def _panel(panel: Panel, y_axis: Axis, scales: Sequence[int], ensemble: float | None, n: int) -> Markup:
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}{}</svg>').format(
        _PANEL_WIDTH,
        _PANEL_HEIGHT,
        _description(panel, ensemble, n),
        _grid(y_axis),
        _scale_labels(panel, scales),
        _levels(panel, y_axis, ensemble),
        Markup("").join(_series(panel, mode, y_axis, scales, n) for mode in ("dense", "crops")),
    )


def _description(panel: Panel, ensemble: float | None, n: int) -> str:
    views = "; ".join(f"{MODE_NAMES[p.mode]} at Q {p.scale} px {percent(p.value, n)} %" for p in panel.points)
    fused = "" if ensemble is None else f"; the ensemble {percent(ensemble, n)} %"
    return (
        f"Top-1 error of {panel.name} by test scale: {views}; all views together {percent(panel.combined, n)} %{fused}."
    )


def _grid(y_axis: Axis) -> Markup:
    lines = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(_LEFT, _PANEL_WIDTH - _RIGHT, y, y, _LEFT - 6, y + 3.5, y_axis.tick_text(tick))
        for tick in y_axis.ticks
        for y in (_y(y_axis, tick),)
    ]
    return Markup("").join(lines)


def _scale_labels(panel: Panel, scales: Sequence[int]) -> Markup:
    baseline = _PANEL_HEIGHT - _BOTTOM
    labels = [
        Markup('<text class="tick" x="{:.1f}" y="{}" text-anchor="middle">{}</text>').format(
            _x(scales, scale), baseline + 15, scale
        )
        for scale in _legible(sorted({point.scale for point in panel.points}), scales)
    ]
    title = Markup('<text class="axis-title" x="{}" y="{}" text-anchor="middle">test scale Q, px</text>').format(
        (_LEFT + _PANEL_WIDTH - _RIGHT) / 2, baseline + 30
    )
    return Markup("").join([*labels, title])


def _levels(panel: Panel, y_axis: Axis, ensemble: float | None) -> Markup:
    """Horizontal lines: all views of the member together, and the ensemble."""
    levels = [("level-member", panel.combined)] if len(panel.points) > 1 else []
    levels += [] if ensemble is None else [("level-ensemble", ensemble)]
    return Markup("").join(
        Markup('<line class="level {}" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>').format(
            css_class, _LEFT, _PANEL_WIDTH - _RIGHT, y, y
        )
        for css_class, value in levels
        for y in (_y(y_axis, value),)
    )


def _series(panel: Panel, mode: str, y_axis: Axis, scales: Sequence[int], n: int) -> Markup:
    points = sorted((p for p in panel.points if p.mode == mode), key=lambda p: p.scale)
    if not points:
        return Markup("")
    both = len({p.mode for p in panel.points}) > 1
    shift = (-_DODGE if mode == "dense" else _DODGE) / 2 if both else 0
    places = [(_x(scales, p.scale) + shift, p) for p in points]
    path = " ".join(f"{x:.1f},{_y(y_axis, p.value):.1f}" for x, p in places)
    marks = [
        Markup(
            '<g><title>{}</title><line class="whisker" x1="{:.1f}" x2="{:.1f}" y1="{:.1f}" y2="{:.1f}"/>{}</g>'
        ).format(
            f"{MODE_NAMES[mode]}, Q {p.scale} px: {percent(p.value, n)} % ({interval(p.low, p.high, n)})",
            x,
            x,
            _y(y_axis, p.low),
            _y(y_axis, p.high),
            _mark(mode, x, _y(y_axis, p.value)),
        )
        for x, p in places
    ]
    return Markup('<g class="series series-{}"><polyline points="{}"/>{}</g>').format(
        mode, path, Markup("").join(marks)
    )


def _mark(mode: str, x: float, y: float) -> Markup:
    """A circle for dense, a square for crops: told apart without colour."""
    if mode == "dense":
        return Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x, y)
    return Markup('<rect class="dot" x="{:.1f}" y="{:.1f}" width="7" height="7"/>').format(x - 3.5, y - 3.5)


def _x(scales: Sequence[int], scale: int) -> float:
    start, end = _LEFT + 22, _PANEL_WIDTH - _RIGHT - 22
    if scales[0] == scales[-1]:
        return (start + end) / 2
    return start + (scale - scales[0]) / (scales[-1] - scales[0]) * (end - start)


def _y(y_axis: Axis, value: float) -> float:
    return y_axis.at(value, _PANEL_HEIGHT - _BOTTOM, _TOP)


def _legible(own: Sequence[int], scales: Sequence[int]) -> list[int]:
    """The scales whose labels do not touch the one before."""
    kept: list[int] = []
    for scale in own:
        if not kept or _x(scales, scale) - _x(scales, kept[-1]) >= 26:
            kept.append(scale)
    return kept


def _round_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5, 5 x 10^k that is at least `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
