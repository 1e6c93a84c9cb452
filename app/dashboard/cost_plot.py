"""Error against cost as SVG: what was fixed, what was found, and the front that nothing cheaper beats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from app.dashboard.charts import Axis
from app.dashboard.formatting import interval, magnitude, percent
from app.representations.searches import FusionDocument, SearchDocument
from ensembles.statistics import wilson_interval

_WIDTH, _HEIGHT = 720, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 14, 46


@dataclass(frozen=True)
class CostPoint:
    """One fusion: what an image costs, and its error with its 95 % interval on the images that report."""

    kind: str
    cost: float
    error: float
    low: float
    high: float
    selected_by: float


@dataclass(frozen=True)
class CostPlot:
    """All fusions of a search on shared axes; cost is logarithmic.

    Attributes:
        points: the front first, cheapest first.
        n: images that report.
        seconds: whether cost is seconds, else GMAC.
        stepped: whether the choosing metric is the error that is drawn.
    """

    points: tuple[CostPoint, ...]
    n: int
    seconds: bool
    stepped: bool

    @classmethod
    def of(cls, found: SearchDocument) -> CostPlot:
        """The plot of a search: its front, the chosen fusion, the cheapest that is good enough, its own fusion."""
        n, seconds = found.n_report, found.cost == "seconds"
        top5 = found.metric == "top5_error"

        def point(kind: str, one: FusionDocument) -> CostPoint:
            error = one.top5_error if top5 else one.top1_error
            low, high = wilson_interval(round(error * n), n)
            cost = one.seconds if seconds and one.seconds is not None else one.gmacs
            return CostPoint(kind, cost, error, low, high, one.selected_by)

        points = [point("front", one) for one in found.pareto]
        points += [point("fixed", one) for one in found.fixed]
        points += [point("cheapest", found.cheapest), point("chosen", found.best[0])]
        return cls(tuple(points), n, seconds, found.metric != "nll")

    @property
    def front(self) -> tuple[CostPoint, ...]:
        """The points of the front."""
        return tuple(point for point in self.points if point.kind == "front")

    def svg(self) -> Markup:
        """The drawing; the numbers stand in the table beside it."""
        errors = [value for point in self.points for value in (point.low, point.high)]
        if self.stepped:
            errors += [point.selected_by for point in self.front]
        y_axis = Axis.around(errors, 5)
        ticks = _round_costs([point.cost for point in self.points])
        return Markup(
            '<svg class="cost-plot" viewBox="0 0 {} {}" width="{}" height="{}" role="img" aria-label="{}">'
            "{}{}{}{}</svg>"
        ).format(
            _WIDTH,
            _HEIGHT,
            _WIDTH,
            _HEIGHT,
            self._words(),
            self._grid(y_axis),
            self._costs(ticks),
            self._steps(y_axis, ticks) if self.stepped else "",
            Markup("").join(self._mark(point, y_axis, ticks) for point in self.points),
        )

    def _words(self) -> str:
        unit = "seconds" if self.seconds else "multiply-accumulates"
        front = "; ".join(f"{self._cost(p.cost)} {percent(p.error, self.n)} %" for p in self.front)
        return f"Error against cost of an image in {unit}, the front: {front}."

    def _cost(self, cost: float) -> str:
        return f"{cost:.3g} s" if self.seconds else magnitude(1e9 * cost)

    def _grid(self, axis: Axis) -> Markup:
        lines = [
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
                '<text class="tick" x="{}" y="{:.1f}" text-anchor="end">{}</text>'
            ).format(_LEFT, _WIDTH - _RIGHT, y, y, _LEFT - 8, y + 4, axis.tick_text(tick))
            for tick in axis.ticks
            for y in (_y(axis, tick),)
        ]
        title = Markup(
            '<text class="axis-title" transform="translate(12 {}) rotate(-90)" text-anchor="middle">{}</text>'
        )
        return Markup("").join(lines) + title.format((_TOP + _HEIGHT - _BOTTOM) / 2, "error, %")

    def _costs(self, ticks: Sequence[float]) -> Markup:
        labels = [
            Markup(
                '<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
                '<text class="tick" x="{x:.1f}" y="{at}" text-anchor="middle">{text}</text>'
            ).format(x=_x(ticks, tick), top=_TOP, bottom=_HEIGHT - _BOTTOM, at=_HEIGHT - _BOTTOM + 17, text=text)
            for tick, text in ((tick, self._cost(tick)) for tick in ticks)
        ]
        words = "seconds an image, as measured" if self.seconds else "multiply-accumulates an image"
        title = Markup('<text class="axis-title" x="{}" y="{}" text-anchor="middle">{}</text>')
        return Markup("").join(labels) + title.format((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, words)

    def _steps(self, axis: Axis, ticks: Sequence[float]) -> Markup:
        """The least error that each cost buys on the images that chose."""
        front = self.front
        path = f"M{_x(ticks, front[0].cost):.1f} {_y(axis, front[0].selected_by):.1f}"
        for point in front[1:]:
            path += f"H{_x(ticks, point.cost):.1f}V{_y(axis, point.selected_by):.1f}"
        return Markup('<path class="front-steps" d="{}H{}"/>').format(path, _WIDTH - _RIGHT)

    def _mark(self, point: CostPoint, axis: Axis, ticks: Sequence[float]) -> Markup:
        x, y = _x(ticks, point.cost), _y(axis, point.error)
        title = (
            f"{percent(point.error, self.n)} % [{interval(point.low, point.high, self.n)}], {self._cost(point.cost)}"
        )
        shape = {
            "fixed": Markup('<rect class="dot" x="{:.1f}" y="{:.1f}" width="9" height="9"/>').format(x - 4.5, y - 4.5),
            "cheapest": Markup('<circle class="ring" cx="{:.1f}" cy="{:.1f}" r="8"/>').format(x, y),
            "chosen": Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="6"/>').format(x, y),
        }.get(point.kind, Markup('<circle class="dot" cx="{:.1f}" cy="{:.1f}" r="4"/>').format(x, y))
        whisker = (
            Markup("")
            if point.kind == "cheapest"
            else Markup('<path class="whisker" d="M{x:.1f} {low:.1f}V{high:.1f}"/>').format(
                x=x, low=_y(axis, point.low), high=_y(axis, point.high)
            )
        )
        return Markup('<g class="cost-{}"><title>{}</title>{}{}</g>').format(point.kind, title, whisker, shape)


def _y(axis: Axis, value: float) -> float:
    return axis.at(value, _HEIGHT - _BOTTOM, _TOP)


def _x(ticks: Sequence[float], cost: float) -> float:
    """Logarithmic between the first tick and the last; what costs nothing stands on the first."""
    low, high = math.log(ticks[0]), math.log(ticks[-1])
    place = (math.log(max(cost, ticks[0])) - low) / (high - low)
    return _LEFT + 12 + place * (_WIDTH - _RIGHT - _LEFT - 24)


def _round_costs(costs: Sequence[float]) -> list[float]:
    """Round numbers, 1, 2 or 5 of every decade, around all costs above 0; at least two."""
    positive = [cost for cost in costs if cost > 0] or [1.0]
    decades = range(math.floor(math.log10(min(positive))) - 1, math.ceil(math.log10(max(positive))) + 2)
    steps = [float(f"{digit}e{decade}") for decade in decades for digit in (1, 2, 5)]
    first = max(i for i, step in enumerate(steps) if step <= min(positive))
    last = min(i for i, step in enumerate(steps) if step >= max(positive))
    return steps[first : max(last, first + 1) + 1]
